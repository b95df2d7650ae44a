"""Writes of saves. A write of an existing slot is one statement; docs/adr/0030 says how.

Every write names the version that it has seen (`Precondition`). Whoever comes second gets
`VersionConflict` with the current version, so that the game can ask its player which to keep.
"""

import hashlib
from typing import Any

from django.conf import settings
from django.db import transaction

from config import hooks
from config.api.preconditions import Precondition
from config.api.problems import VersionConflict
from config.db.ids import uuid7
from config.db.transactions import advisory_lock
from progress.errors import SaveAccessFixed, SaveServerOnly
from progress.metrics import SAVE_BYTES, SAVES
from progress.services.save_rows import (
    DEVICE,
    SERVER_DEVICE,
    SaveState,
    Writer,
    check_slots,
    check_space,
    current_save,
    run,
    space_can_run_out,
    version_of,
)

_ADD_VERSION = """
added AS (
    INSERT INTO progress_saveversion
        (save_id, version, size, sha256, content_type, device, created_at, body)
    SELECT id, version, %(size)s::int, %(sha256)s::bytea, %(content_type)s::text, device,
           updated_at, %(body)s::bytea
    FROM put
),
trimmed AS (
    DELETE FROM progress_saveversion v USING put
    WHERE v.save_id = put.id AND v.version <= put.version - %(kept)s::int
)
SELECT version, access, device, updated_at FROM put
"""

REPLACE = f"""
WITH put AS (
    UPDATE progress_save SET
        version = version + 1, size = %(size)s::int, sha256 = %(sha256)s::bytea,
        content_type = %(content_type)s::text, device = {DEVICE},
        updated_at = statement_timestamp()
    WHERE player_id = %(player)s::uuid AND slot = %(slot)s::text AND game_id = %(game)s::uuid
      AND deleted_at IS NULL
      AND (version = %(version)s::bigint OR %(any_version)s::bool)
      AND (access <> 'server' OR %(trusted)s::bool)
      AND (access = %(access)s::text OR %(access)s::text = '')
    RETURNING id, version, access, device, updated_at
),
{_ADD_VERSION}"""  # noqa: S608 (made of constants)

CREATE = f"""
WITH put AS (
    INSERT INTO progress_save
        (id, game_id, player_id, slot, version, access, size, sha256, content_type, device,
         created_at, updated_at)
    VALUES (%(id)s::uuid, %(game)s::uuid, %(player)s::uuid, %(slot)s::text, 1, %(access)s::text,
            %(size)s::int, %(sha256)s::bytea, %(content_type)s::text, {DEVICE},
            statement_timestamp(), statement_timestamp())
    ON CONFLICT (player_id, slot) DO UPDATE SET
        version = progress_save.version + 1, access = EXCLUDED.access, size = EXCLUDED.size,
        sha256 = EXCLUDED.sha256, content_type = EXCLUDED.content_type,
        device = EXCLUDED.device, created_at = EXCLUDED.created_at,
        updated_at = EXCLUDED.updated_at, deleted_at = NULL
    WHERE progress_save.deleted_at IS NOT NULL
    RETURNING id, version, access, device, updated_at
),
{_ADD_VERSION}"""  # noqa: S608 (made of constants)


def put(
    *,
    writer: Writer,
    slot: str,
    body: bytes,
    content_type: str,
    precondition: Precondition,
    access: str | None = None,
) -> SaveState:
    """Write a slot: create it (`must_not_exist`) or replace the version that the writer has seen.

    `access` is chosen at creation ("private" for players, "server" for game servers, unless
    told). `created` and `replayed` of the answer say which it was; `replayed` means that this
    very write had been done before and its answer was lost. Raises `VersionConflict`,
    `SaveServerOnly`, `SaveAccessFixed`, `SaveSlotsFull`, `SaveSpaceFull`, and what a hook
    before `save` refuses with.
    """
    write = _create if precondition.must_not_exist else _replace
    arguments = {
        "game": writer.game_id,
        "player": writer.player_id,
        "session": writer.session_id,
        "device": SERVER_DEVICE if writer.trusted else "",
        "trusted": writer.trusted,
        "slot": slot,
        "size": len(body),
        "sha256": hashlib.sha256(body).digest(),
        "content_type": content_type,
        "body": body,
        "kept": settings.SAVE_KEPT_VERSIONS,
        "access": access or "",
    }
    if hooks.has_before("save"):
        with transaction.atomic():
            hooks.run_before(
                "save",
                game_id=writer.game_id,
                player_id=writer.player_id,
                slot=slot,
                size=len(body),
                content_type=content_type,
            )
            return write(writer, precondition, arguments)
    return write(writer, precondition, arguments)


def _replace(writer: Writer, precondition: Precondition, arguments: dict[str, Any]) -> SaveState:
    seen = version_of(precondition.match)
    arguments |= {"version": seen, "any_version": precondition.any_version}
    if space_can_run_out():
        with transaction.atomic():
            advisory_lock("saves", writer.player_id)
            check_space(writer.player_id, arguments["slot"], arguments["size"])
            row = run(REPLACE, arguments)
    else:
        row = run(REPLACE, arguments)
    if row is None:
        return _explain(writer, seen, arguments)
    return _done("replaced", row, arguments)


def _create(writer: Writer, precondition: Precondition, arguments: dict[str, Any]) -> SaveState:
    chosen = arguments["access"]
    if chosen == "server" and not writer.trusted:
        raise SaveServerOnly("A player can't make a slot that only the server writes")
    arguments |= {"id": uuid7(), "access": chosen or ("server" if writer.trusted else "private")}
    with transaction.atomic():
        # One creation of a player at a time, so that the count below stays true.
        advisory_lock("saves", writer.player_id)
        current = current_save(writer, arguments["slot"])
        if current is None:
            check_slots(writer.player_id)
            check_space(writer.player_id, arguments["slot"], arguments["size"])
            row = run(CREATE, arguments)
            if row is None:
                raise AssertionError("The slot is free, and creations of its player are locked")
            return _done("created", row, arguments, created=True)
    if current.version == 1 and _is_repeat(writer, current, arguments):
        SAVES.labels("replayed").inc()
        return _replayed(current, created=True)
    SAVES.labels("conflict").inc()
    raise VersionConflict("The slot exists already", current=current.as_current())


def _done(
    outcome: str, row: tuple[Any, ...], arguments: dict[str, Any], *, created: bool = False
) -> SaveState:
    SAVES.labels(outcome).inc()
    SAVE_BYTES.observe(arguments["size"])
    version, access, device, updated_at = row
    return SaveState(
        slot=arguments["slot"],
        version=version,
        access=access,
        size=arguments["size"],
        sha256=arguments["sha256"],
        content_type=arguments["content_type"],
        device=device,
        updated_at=updated_at,
        created=created,
    )


def _explain(writer: Writer, seen: int, arguments: dict[str, Any]) -> SaveState:
    """Why a replacement found no row to change. Raises that, or returns the save if this very
    write was the last one: then its answer was lost, and RFC 9110 (13.1.1) lets us repeat it."""
    current = current_save(writer, arguments["slot"])
    if current is None:
        SAVES.labels("conflict").inc()
        raise VersionConflict("The slot does not exist", current=None)
    if current.access == "server" and not writer.trusted:
        raise SaveServerOnly
    if current.version == seen + 1 and _is_repeat(writer, current, arguments):
        SAVES.labels("replayed").inc()
        return _replayed(current)
    if arguments["access"] and arguments["access"] != current.access:
        raise SaveAccessFixed(f"This save is {current.access}")
    SAVES.labels("conflict").inc()
    raise VersionConflict(current=current.as_current())


def _is_repeat(writer: Writer, current: SaveState, arguments: dict[str, Any]) -> bool:
    if current.sha256 != arguments["sha256"]:
        return False
    if writer.trusted:
        return current.device == SERVER_DEVICE
    row = run(f"SELECT {DEVICE}", arguments)
    return row is not None and row[0] == current.device


def _replayed(current: SaveState, *, created: bool = False) -> SaveState:
    return SaveState(**{**vars(current), "created": created, "replayed": True})
