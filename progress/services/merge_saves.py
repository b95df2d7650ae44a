"""Saves of two players who are merged: the survivor gets copies, the absorbed one keeps its own.

A copy has the device and the time of what it is a copy of: a merge writes no content of its own,
and what was written later can still be told (docs/adr/0034).
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.merging import Json, Pair
from config.api.parsing import invalid
from config.db.ids import uuid7
from progress.errors import SaveAccessFixed, SaveSlotsFull, SaveSpaceFull
from progress.models import Save
from progress.services.save_history import forget_beyond
from progress.services.save_rows import run

Slots = dict[str, Save]
KINDS = ("added", "same", "this", "other")

_COPY = """
WITH source AS (
    SELECT s.slot, s.access, v.*
    FROM progress_save s JOIN progress_saveversion v ON v.save_id = s.id
    WHERE s.id = %(source)s::uuid AND v.version = %(version)s::bigint
), put AS (
    INSERT INTO progress_save AS s
        (id, game_id, player_id, slot, version, access, size, sha256, content_type, device,
         created_at, updated_at)
    SELECT %(id)s::uuid, %(game)s::uuid, %(player)s::uuid, slot, 1, access, size, sha256,
           content_type, device, statement_timestamp(), created_at
    FROM source
    ON CONFLICT (player_id, slot) DO UPDATE SET
        version = s.version + 1, access = EXCLUDED.access, size = EXCLUDED.size,
        sha256 = EXCLUDED.sha256, content_type = EXCLUDED.content_type,
        device = EXCLUDED.device, updated_at = EXCLUDED.updated_at, deleted_at = NULL,
        created_at = CASE WHEN s.deleted_at IS NULL THEN s.created_at ELSE EXCLUDED.created_at END
    RETURNING id, version
), added AS (
    INSERT INTO progress_saveversion
        (save_id, version, size, sha256, content_type, device, created_at, restored_from, body)
    SELECT put.id, put.version, source.size, source.sha256, source.content_type, source.device,
           source.created_at, %(restored_from)s::bigint, source.body
    FROM put, source
), trimmed AS (
    DELETE FROM progress_saveversion v USING put
    WHERE v.save_id = put.id AND v.version <= put.version - %(kept)s::int
) SELECT version FROM put
"""


def check_choices(pair: Pair, choices: Mapping[str, str]) -> None:
    """Raises `ValidationFailed` for a slot that neither of the two has."""
    mine, theirs = _slots(pair)
    for slot in choices:
        if not any(_is_there(slots.get(slot)) for slots in (mine, theirs)):
            step = slot.replace("~", "~0").replace("/", "~1")
            raise invalid(f"/saves/{step}", "Neither player has this slot")


def bring(pair: Pair, choices: Mapping[str, str], journal: Json) -> tuple[Json, Json]:
    """Copy those slots of the absorbed player that were written since `journal`.

    Returns the journal with them: the version that was `seen`, and of the survivor's slot the one
    that it had (`was`) and the one with the other's content (`wrote`). And what the player is told:
    under "saves" what became of each slot ("added", "same", or whose content goes on: "this",
    "other"), under "stays" why one did not come over.
    """
    mine, theirs = _slots(pair)
    used = {slot: save.size for slot, save in mine.items() if _is_there(save)}
    noted: Json = dict(journal)
    told: Json = {"saves": {}, "stays": {}}
    # What was written last comes first, should there not be room for all.
    for slot, save in sorted(theirs.items(), key=lambda item: item[1].updated_at, reverse=True):
        before = journal.get(slot, {"was": None, "wrote": None})
        if not _is_there(save) or before.get("seen") == save.version:
            continue
        own = mine.get(slot)
        how = _what_becomes(own, save, choices.get(slot), used)
        if how in ("added", "other"):
            is_untouched = own is not None and own.version == before["wrote"]
            was = own.version if own is not None and how == "other" else None
            before = {
                "was": before["was"] if is_untouched else was,
                "wrote": _copy(pair, save, save.version),
            }
            used[slot] = save.size
        elif how == "this" and own is not None:
            # Then both are among the versions, and what goes on is what was there.
            _copy(pair, save, save.version)
            _copy(pair, own, own.version, restored=True)
            before = {"was": None, "wrote": None}
        noted[slot] = before | {"seen": save.version}
        told["saves" if how in KINDS else "stays"][slot] = how
    return noted, told


def _what_becomes(own: Save | None, save: Save, choice: str | None, used: Mapping[str, int]) -> str:
    """Of a slot: one of `KINDS`, or the code of what keeps it from coming over."""
    if own is not None and _is_there(own):
        if bytes(own.sha256) == bytes(save.sha256):
            return "same"
        if own.access != save.access:
            # Or a player's own save would become one that only the server writes.
            return SaveAccessFixed.code
        if choice == "this" or (choice is None and own.updated_at >= save.updated_at):
            return "this"
    elif len(used) >= settings.SAVE_MAX_SLOTS:
        return SaveSlotsFull.code
    if sum(used.values()) - used.get(save.slot, 0) + save.size > settings.SAVE_MAX_TOTAL_BYTES:
        return SaveSpaceFull.code
    return "other" if _is_there(own) else "added"


def _copy(pair: Pair, source: Save, version: int, *, restored: bool = False) -> int | None:
    """Write a version of a save as the next one of the survivor's slot: its number, or None where
    that version is no longer kept."""
    row = run(
        _COPY,
        {
            "source": source.pk,
            "version": version,
            "id": uuid7(),
            "game": pair.game_id,
            "player": pair.survivor.pk,
            "restored_from": version if restored else None,
            # What is replaced here must still be there to be written again.
            "kept": max(settings.SAVE_KEPT_VERSIONS, 2),
        },
    )
    return None if row is None else int(row[0])


def take_back(pair: Pair, journal: Json) -> tuple[list[str], list[str]]:
    """Undo `bring` where a slot is as it was left: (slots taken back, slots that stay)."""
    mine, _ = _slots(pair)
    back: list[str] = []
    stay: list[str] = []
    for slot, noted in sorted(journal.items()):
        own = mine.get(slot)
        if own is None or noted["wrote"] is None or not _is_there(own):
            continue
        is_back = own.version == noted["wrote"] and _revert(pair, own, noted["was"])
        (back if is_back else stay).append(slot)
    forget_beyond(pair.survivor.pk)
    return back, stay


def _revert(pair: Pair, own: Save, version: int | None) -> bool:
    """Bring a slot back to an earlier version; None: to before there was one."""
    if version is not None:
        return _copy(pair, own, version, restored=True) is not None
    own.deleted_at = timezone.now()
    own.save(update_fields=["deleted_at"])
    return True


def _is_there(save: Save | None) -> bool:
    return save is not None and save.deleted_at is None


def _slots(pair: Pair) -> tuple[Slots, Slots]:
    """All slots, deleted ones too, of the survivor and of the absorbed player, locked: a write of
    either waits, and then finds what became of its slot."""
    players = (pair.survivor, pair.absorbed)
    rows: Any = (
        Save.objects.select_for_update(of=("self",))
        .filter(player__in=players)
        .order_by("player_id", "slot")
    )
    found: dict[Any, Slots] = {player.pk: {} for player in players}
    for row in rows:
        found[row.player_id][row.slot] = row
    return found[pair.survivor.pk], found[pair.absorbed.pk]
