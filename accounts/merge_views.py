"""The endpoint that merges another player into the calling one."""

from django.http import HttpResponse

from accounts import errors
from accounts.merge_serializers import MergeOut, MergePreview, MergeRequest, MergeSide
from accounts.models import Player
from accounts.selectors import PublicPlayer, player_get
from accounts.services import merging
from config.api.callers import ApiRequest
from config.api.views import ApiViewSet, answer, endpoint


class MergeViewSet(ApiViewSet):
    """Merging the player of another identity into the calling one."""

    @endpoint(
        callers=("player",),
        answers={200: MergePreview | MergeOut, 201: MergeOut},
        body=MergeRequest,
        limits=("merges",),
        problems=(
            errors.MergeTokenInvalid,
            errors.MergeRefused,
            errors.TooManyMerges,
            errors.PlayerMerged,
        ),
        example={"merge_token": "eyJ…", "preview": True},
    )
    def create(self, request: ApiRequest, body: MergeRequest) -> HttpResponse:
        """Merge the player whose identity could not be linked into this one.

        First ask with `"preview": true`: it answers what each side holds and what would become of
        it. Then without: what the other player owns is this player's from then on, and its ways to
        sign in lead here. The same merge again answers 200 with the first outcome.
        """
        caller = request.caller
        game_id, player_id, token = caller.game_id, caller.player, body.merge_token
        other = merging.the_other(game_id=game_id, player_id=player_id, token=token)
        merge, replayed = merging.merge(
            game_id=game_id,
            player_id=player_id,
            token=token,
            choices={"profile": body.profile, "saves": body.saves},
            preview=body.preview,
        )
        if replayed or not body.preview:
            return answer(MergeOut.of(merge), status=200 if replayed else 201)
        this = player_get(game_id=game_id, player_id=player_id)
        return answer(
            MergePreview(this=_side(this), other=_side(other), outcome=merge.outcome["merged"])
        )


def _side(player: Player) -> MergeSide:
    return MergeSide(player=PublicPlayer.of_player(player), holds=merging.holdings(player))
