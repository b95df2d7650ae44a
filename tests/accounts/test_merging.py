"""Merging the player of an identity into the one who knows its secret."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts import merging as parts
from accounts.errors import MergeNotUndoable, MergeRefused, MergeTokenInvalid, TooManyMerges
from accounts.models import Identity, Merge, Player, Sanction, Session
from accounts.services import merging, players, sanctions
from config.api.preconditions import Precondition
from tests.factories.accounts import SECRET, IdentityFactory, PlayerFactory, SanctionFactory
from tests.factories.merging import merge, token_for, undo
from tests.factories.store import CurrencyFactory
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, new_player

pytestmark = pytest.mark.django_db
IDENTITIES, MERGES = "/v1/players/me/identities", "/v1/players/me/merges"
EMAIL = {"method": "email", "email": "robin@example.com", "password": "a quiet lake at dawn"}
DEVICE = {"method": "device", "device_id": "tablet", "device_secret": SECRET}


def taken(client: ApiClient, body: dict[str, str]) -> dict[str, Any]:
    return assert_problem(client.post(IDENTITIES, body), 409, "identity_taken")


@pytest.fixture(params=[EMAIL, DEVICE], ids=["email", "device"])
def identity(request: pytest.FixtureRequest, other_player_client: PlayerClient) -> Any:
    """A way in that another player of the game has."""
    assert other_player_client.post(IDENTITIES, request.param).status_code == 201
    return request.param


@pytest.fixture
def token(player_client: PlayerClient, identity: dict[str, str]) -> str:
    return str(taken(player_client, identity)["merge_token"])


@pytest.fixture
def two() -> tuple[Player, Player]:
    survivor = PlayerFactory.create()
    return survivor, PlayerFactory.create(game=survivor.game)


def test_link__of_another_player__with_the_wrong_secret__gets_no_token(
    player_client: PlayerClient, identity: dict[str, str]
) -> None:
    wrong = identity | {"password": "another lake at dusk"}
    if "device_secret" in identity:
        wrong = identity | {"device_secret": "n" * 43}
    assert "merge_token" not in taken(player_client, wrong)


def test_link__guessing_a_password__is_limited_like_signing_in(
    player_client: PlayerClient, other_player_client: PlayerClient, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"sign_in_identity": (2, 60)}
    other_player_client.post(IDENTITIES, EMAIL)
    wrong = EMAIL | {"password": "another lake at dusk"}
    taken(player_client, wrong)
    assert_problem(player_client.post(IDENTITIES, wrong), 429, "rate_limited")


def test_preview__tells_what_each_side_holds__and_changes_nothing(
    player_client: PlayerClient, other_player_client: PlayerClient, token: str
) -> None:
    answer = player_client.post(MERGES, {"merge_token": token, "preview": True})

    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["preview"] is True
    assert body["this"]["player"]["id"] == str(player_client.player_id)
    assert body["other"]["player"]["id"] == str(other_player_client.player_id)
    assert len(body["other"]["holds"]["accounts"]["sign_in"]) == 2
    assert set(body["outcome"]) == {part.name for part in parts.parts()}
    assert other_player_client.get("/v1/players/me").status_code == 200
    assert not Merge.objects.exists()


def test_merge__makes_one_of_two(
    game_client: ApiClient,
    player_client: PlayerClient,
    other_player_client: PlayerClient,
    identity: dict[str, str],
    token: str,
    django_capture_on_commit_callbacks: Any,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        answer = player_client.post(MERGES, {"merge_token": token})

    assert answer.status_code == 201, answer.content
    assert answer.json()["absorbed"] == str(other_player_client.player_id)
    assert answer.json()["player"]["id"] == str(player_client.player_id)
    # The other is signed out at once, and its ways in lead here.
    assert other_player_client.get("/v1/players/me").status_code == 401
    signed_in = game_client.post("/v1/sessions", identity).json()
    assert signed_in["player"]["id"] == str(player_client.player_id)
    assert len(player_client.get(IDENTITIES).json()["results"]) == 3
    profile = player_client.get("/v1/players/me").json()
    assert profile["is_guest"] is ("device_id" in identity)


def test_merge__again__answers_the_first_outcome(player_client: PlayerClient, token: str) -> None:
    first = player_client.post(MERGES, {"merge_token": token})
    again = player_client.post(MERGES, {"merge_token": token})
    preview = player_client.post(MERGES, {"merge_token": token, "preview": True})
    assert (again.status_code, preview.status_code) == (200, 200)
    assert again.json() == preview.json() == first.json()
    assert Merge.objects.count() == 1


def test_merge__with_the_others_profile__swaps_the_names(
    player_client: PlayerClient, other_player_client: PlayerClient, token: str
) -> None:
    before = player_client.get("/v1/players/me").json()
    others = other_player_client.get("/v1/players/me").json()

    body = player_client.post(MERGES, {"merge_token": token, "profile": "other"}).json()

    assert body["player"]["display_name"] == others["display_name"]
    assert body["player"]["tag"] == others["tag"]
    undo(Merge.objects.get())
    row = Player.objects.get(pk=player_client.player_id)
    assert row.display_name == before["display_name"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"merge_token": "x"},
        {"merge_token": "x" * 1001},
        {"merge_token": "x", "profile": "both"},
        {"merge_token": "x", "saves": {"slot": "mine"}},
        {"merge_token": "x", "keep": "this"},
    ],
)
def test_merge__of_nonsense__is_refused(player_client: PlayerClient, body: Any) -> None:
    answer = player_client.post(MERGES, body)
    assert answer.status_code in (400, 422)
    assert answer["Content-Type"] == "application/problem+json"


def test_merge__with_a_token_of_somebody_else__is_refused(
    game: Any, foreign_player_client: PlayerClient, other_player_client: PlayerClient, token: str
) -> None:
    for client in (foreign_player_client, other_player_client, new_player(game)):
        for preview in (True, False):
            answer = client.post(MERGES, {"merge_token": token, "preview": preview})
            assert_problem(answer, 422, "merge_token_invalid")
    assert not Merge.objects.exists()


def test_merge__with_an_old_token__is_refused(
    player_client: PlayerClient, token: str, settings: LazySettings
) -> None:
    settings.MERGE_TOKEN_SECONDS = 0
    assert_problem(player_client.post(MERGES, {"merge_token": token}), 422, "merge_token_invalid")


def test_merge__after_the_secret_changed__is_refused(
    player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    other_player_client.post(IDENTITIES, DEVICE)
    token = taken(player_client, DEVICE)["merge_token"]
    other_player_client.post(IDENTITIES, DEVICE | {"device_secret": "n" * 43})
    answer = player_client.post(MERGES, {"merge_token": token})
    assert_problem(answer, 422, "merge_token_invalid")


def test_merge__after_the_identity_was_unlinked__is_refused(two: tuple[Player, Player]) -> None:
    token = token_for(*two)
    Identity.objects.filter(player=two[1]).delete()
    with pytest.raises(MergeTokenInvalid):
        merging.merge(game_id=two[0].game_id, player_id=two[0].pk, token=token, choices={})


def test_merge__of_a_tester_and_a_player__is_refused(two: tuple[Player, Player]) -> None:
    Player.objects.filter(pk=two[1].pk).update(is_tester=True)
    with pytest.raises(MergeRefused):
        merge(*two)


def test_merge__of_a_banned_player__is_refused(two: tuple[Player, Player]) -> None:
    sanctions.impose(
        game_id=two[1].game_id, player_id=two[1].pk, kind="ban", reason="Spam", author="test"
    )
    with pytest.raises(MergeRefused):
        merge(*two)


@pytest.mark.parametrize("kind", ["warning", "shadow_ban"])
def test_merge__brings_other_sanctions_along(two: tuple[Player, Player], kind: str) -> None:
    """A refusal would tell of a shadow ban."""
    SanctionFactory.create(player=two[1], kind=kind)
    made = merge(*two)
    assert Sanction.objects.get().player_id == two[0].pk
    undo(made)
    assert Sanction.objects.get().player_id == two[1].pk


def test_merge__too_often_in_a_year__is_refused(
    player_client: PlayerClient, game: Any, settings: LazySettings
) -> None:
    settings.MERGES_A_YEAR = 1
    survivor = Player.objects.get(pk=player_client.player_id)
    chained = PlayerFactory.create(game=game)
    merge(chained, PlayerFactory.create(game=game))
    refused = player_client.post(MERGES, {"merge_token": token_for(survivor, chained)})
    assert_problem(refused, 409, "too_many_merges")
    merge(survivor, PlayerFactory.create(game=game))
    Merge.objects.update(created_at=timezone.now() - timedelta(days=366))
    answer = player_client.post(MERGES, {"merge_token": token_for(survivor, chained)})
    assert answer.status_code == 201


def test_merge__a_chain__counts_all_that_became_one(game: Any, settings: LazySettings) -> None:
    settings.MERGES_A_YEAR = 3
    last = PlayerFactory.create(game=game)
    for _ in range(3):
        following = PlayerFactory.create(game=game)
        merge(following, last)
        last = following
    with pytest.raises(TooManyMerges):
        merge(PlayerFactory.create(game=game), last)


def test_undo__gives_ways_in_back_as_they_were(
    game_client: ApiClient, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    """Whatever the survivor has done to them."""
    stolen = DEVICE | {"device_secret": "t" * 43}
    other_player_client.post(IDENTITIES, DEVICE)
    other_player_client.post(IDENTITIES, EMAIL)
    token = taken(player_client, DEVICE)["merge_token"]
    player_client.post(MERGES, {"merge_token": token})
    assert player_client.post(IDENTITIES, stolen).status_code == 200
    (email,) = Identity.objects.filter(method="email")
    assert player_client.delete(f"{IDENTITIES}/{email.pk}").status_code == 204

    undo(Merge.objects.get())

    for way in (DEVICE, EMAIL):
        signed_in = game_client.post("/v1/sessions", way).json()
        assert signed_in["player"]["id"] == str(other_player_client.player_id)
    assert_problem(game_client.post("/v1/sessions", stolen), 401, "invalid_credentials")


def test_undo__ends_the_token(player_client: PlayerClient, token: str) -> None:
    player_client.post(MERGES, {"merge_token": token})
    undo(Merge.objects.get())
    again = player_client.post(MERGES, {"merge_token": token})
    assert_problem(again, 422, "merge_token_invalid")


def test_settling__of_a_chain__goes_from_its_beginning(two: tuple[Player, Player]) -> None:
    survivor, middle = two
    first = PlayerFactory.create(game=survivor.game)
    early, late = merge(middle, first), merge(survivor, middle)
    Merge.objects.filter(pk=late.pk).update(next_attempt_at=timezone.now())
    assert merging.settle_due() == 0
    Merge.objects.filter(pk=early.pk).update(next_attempt_at=timezone.now())
    assert merging.settle_due() == 1
    assert merging.settle_due() == 1


def test_chain__leads_to_the_last(two: tuple[Player, Player]) -> None:
    survivor, middle = two
    first = PlayerFactory.create(game=survivor.game)
    merge(middle, first)
    made = merge(survivor, middle)
    first.refresh_from_db()
    assert first.merged_into_id == survivor.pk

    with pytest.raises(MergeNotUndoable):
        undo(Merge.objects.get(absorbed=first))
    undo(made)
    first.refresh_from_db()
    assert first.merged_into_id == middle.pk
    undo(Merge.objects.get(absorbed=first))
    first.refresh_from_db()
    assert first.merged_into_id is None


def test_undo__makes_two_of_one(
    game_client: ApiClient,
    player_client: PlayerClient,
    other_player_client: PlayerClient,
    identity: dict[str, str],
    token: str,
    django_capture_on_commit_callbacks: Any,
) -> None:
    player_client.post(MERGES, {"merge_token": token})

    with django_capture_on_commit_callbacks(execute=True):
        undone = undo(Merge.objects.get())

    assert undone.state == Merge.State.UNDONE
    assert undone.outcome["undone"]["accounts"] == {"identities": 2, "lost_since": 0}
    # Who signed in by the other's identity must not stay here.
    assert player_client.get("/v1/players/me").status_code == 401
    signed_in = game_client.post("/v1/sessions", identity).json()
    assert signed_in["player"]["id"] == str(other_player_client.player_id)
    # And it can be done once more.
    with pytest.raises(MergeNotUndoable):
        undo(undone)


def test_undo__preview__changes_nothing(two: tuple[Player, Player]) -> None:
    made = merge(*two)
    would = merging.undo(merge_id=made.pk, actor="test", reason="", preview=True)
    assert would.outcome["undone"]["accounts"]["identities"] == 1
    made.refresh_from_db()
    assert made.state == Merge.State.SETTLING
    assert Player.objects.get(pk=two[1].pk).merged_into_id == two[0].pk


def test_undo__after_30_days__is_refused(two: tuple[Player, Player]) -> None:
    made = merge(*two)
    Merge.objects.update(created_at=timezone.now() - timedelta(days=31))
    with pytest.raises(MergeNotUndoable):
        undo(made)


def test_undo__that_would_lock_the_player_out__is_refused(two: tuple[Player, Player]) -> None:
    made = merge(*two)
    Identity.objects.filter(player=two[0]).exclude(
        pk__in=[kept["id"] for kept in made.journal["accounts"]["identities"]]
    ).delete()
    with pytest.raises(MergeNotUndoable):
        undo(made)


def test_absorbed_player__is_out_of_sight(
    server_client: ApiClient, player_client: PlayerClient, two: tuple[Player, Player], game: Any
) -> None:
    survivor = Player.objects.get(pk=player_client.player_id)
    absorbed = PlayerFactory.create(game=game)
    CurrencyFactory.create(game=game, key="gems")
    merge(survivor, absorbed)

    assert_problem(player_client.get(f"/v1/players/{absorbed.pk}"), 404, "not_found")
    found = player_client.get(f"/v1/players?display_name={absorbed.display_name}")
    assert str(absorbed.pk) not in [each["id"] for each in found.json()["results"]]
    told = assert_problem(server_client.get(f"/v1/players/{absorbed.pk}"), 409, "player_merged")
    assert told["merged_into"] == str(survivor.pk)
    for path, body in (
        ("sanctions", {"kind": "warning", "reason": "Spam"}),
        ("grants", {"reason": "gift", "currencies": {"gems": 1}}),
    ):
        answer = server_client.post(f"/v1/players/{absorbed.pk}/{path}", body, idempotency_key="k")
        told = assert_problem(answer, 409, "player_merged")
        assert told["merged_into"] == str(survivor.pk)
    answer = server_client.patch(f"/v1/players/{absorbed.pk}", {"is_tester": True})
    assert_problem(answer, 409, "player_merged")


def test_rename__of_a_survivor__keeps_the_new_name_when_undone(two: tuple[Player, Player]) -> None:
    survivor, absorbed = two
    made = merge(survivor, absorbed, {"profile": "other"})
    players.update_profile(
        game_id=survivor.game_id,
        player_id=survivor.pk,
        changes={"display_name": "Quiet Otter"},
        expected=Precondition(any_version=True),
    )
    undo(made)
    survivor.refresh_from_db()
    assert survivor.display_name == "Quiet Otter"


def test_sessions__of_the_absorbed__are_ended(two: tuple[Player, Player]) -> None:
    identity = IdentityFactory.create(player=two[1])
    Session.objects.create(
        game=two[1].game,
        player=two[1],
        method=identity.method,
        expires_at=timezone.now() + timedelta(days=1),
    )
    merge(*two)
    assert Session.objects.get().revoked_for == "merged"
