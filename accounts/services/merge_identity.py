"""What accounts brings to a merge: ways to sign in, warnings, and which profile goes on."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from accounts.merging import Json, Moved, Pair
from accounts.models import Identity, Player, Sanction
from accounts.services.identities import note_guest
from config.api.wire import utc

name, order = "accounts", 10
NAME = ("display_name", "name_key", "tag", "avatar")
KEPT = ("id", "method", "subject", "secret", "verified_at", "created_at")


def holds(player: Player) -> Json:
    methods = player.identities.order_by("id").values_list("method", flat=True)
    return {
        "sign_in": list(methods),
        "created_at": utc(player.created_at),
        "last_seen_at": utc(player.last_seen_at),
    }


def lock(player_ids: Sequence[UUID]) -> None:
    """The players' own rows are all that accounts needs."""


def merge(pair: Pair, choices: Mapping[str, Any]) -> Moved:
    swaps = choices.get("profile") == "other"
    if swaps:
        _swap_names(pair)
    # Those whom the absorbed player had absorbed.
    heirs = _moved(Player.objects.filter(merged_into=pair.absorbed), merged_into=pair.survivor)
    identities = list(Identity.objects.filter(player=pair.absorbed).values(*KEPT))
    _moved(Identity.objects.filter(player=pair.absorbed), player=pair.survivor)
    journal = {
        # As they were: what the survivor does to them must not be what an undo gives back.
        "identities": msgspec.to_builtins(identities),
        "sanctions": _moved(Sanction.objects.filter(player=pair.absorbed), player=pair.survivor),
        "heirs": heirs,
        "named": [pair.survivor.display_name, pair.survivor.tag] if swaps else None,
    }
    note_guest(pair.survivor)
    return Moved(journal, {"identities": len(identities)})


def _moved(rows: Any, **owner: Player) -> list[str]:
    """Give rows another owner; their ids."""
    ids = list(rows.values_list("pk", flat=True))
    rows.model.objects.filter(pk__in=ids).update(**owner)
    return [str(pk) for pk in ids]


def _swap_names(pair: Pair) -> None:
    """Each gets the other's name and avatar; a name belongs to nobody in between."""
    survivor, absorbed = pair.survivor, pair.absorbed
    kept = {field: getattr(survivor, field) for field in NAME}
    taken = {field: getattr(absorbed, field) for field in NAME}
    # No name folds to this.
    Player.objects.filter(pk=absorbed.pk).update(name_key=f"\x1f{absorbed.pk}")
    for player, values in ((survivor, taken), (absorbed, kept)):
        for field, value in values.items():
            setattr(player, field, value)
        player.version += 1
        player.save(update_fields=[*NAME, "version"])


def settle(pair: Pair, journal: Json) -> Json:
    """Nothing is linked to a player but under the lock that the merge held."""
    return journal


def undo(pair: Pair, journal: Json) -> Json:
    """The absorbed player signs in as it did before, whatever became of that with the survivor."""
    back = sum(_signs_in_again(pair, kept) for kept in journal["identities"])
    Sanction.objects.filter(pk__in=journal["sanctions"], player=pair.survivor).update(
        player=pair.absorbed
    )
    Player.objects.filter(pk__in=journal["heirs"], merged_into=pair.survivor).update(
        merged_into=pair.absorbed
    )
    if journal["named"] == [pair.survivor.display_name, pair.survivor.tag]:
        _swap_names(pair)
    note_guest(pair.survivor)
    note_guest(pair.absorbed)
    return {"identities": back, "lost_since": len(journal["identities"]) - back}


def _signs_in_again(pair: Pair, kept: Json) -> bool:
    """Give an identity back as it was, unless a third player has it by now."""
    found = Identity.objects.filter(
        game_id=pair.game_id, method=kept["method"], subject=kept["subject"]
    )
    found.filter(player=pair.survivor).delete()
    if found.exists():
        return False
    Identity.objects.create(game_id=pair.game_id, player=pair.absorbed, **kept)
    return True
