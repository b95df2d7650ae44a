"""What accounts brings to a merge: ways to sign in, warnings, and which profile goes on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from accounts.merging import Json, Moved, Pair
from accounts.models import Identity, Player, Sanction
from accounts.services.identities import note_guest
from config.api.wire import utc

name, order = "accounts", 10
NAME = ("display_name", "name_key", "tag", "avatar")


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
    journal = {
        "identities": _moved(Identity.objects.filter(player=pair.absorbed), player=pair.survivor),
        "sanctions": _moved(Sanction.objects.filter(player=pair.absorbed), player=pair.survivor),
        "heirs": heirs,
        "named": [pair.survivor.display_name, pair.survivor.tag] if swaps else None,
    }
    note_guest(pair.survivor)
    return Moved(journal, {"identities": len(journal["identities"] or ())})


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
    back = _given_back(Identity, journal["identities"], pair)
    _given_back(Sanction, journal["sanctions"], pair)
    Player.objects.filter(pk__in=journal["heirs"], merged_into=pair.survivor).update(
        merged_into=pair.absorbed
    )
    if journal["named"] == [pair.survivor.display_name, pair.survivor.tag]:
        _swap_names(pair)
    note_guest(pair.survivor)
    note_guest(pair.absorbed)
    return {"identities": back, "unlinked_since": len(journal["identities"]) - back}


def _given_back(model: Any, ids: Iterable[str], pair: Pair) -> int:
    rows = model.objects.filter(pk__in=list(ids), player=pair.survivor)
    changed: int = rows.update(player=pair.absorbed)
    return changed
