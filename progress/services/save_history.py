"""Deleting slots, and bringing versions back."""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from config.api.preconditions import Precondition
from config.api.problems import NotFound, VersionConflict
from config.db.transactions import advisory_lock
from progress.errors import SaveServerOnly
from progress.metrics import SAVES, SAVES_PURGED
from progress.services.save_rows import (
    DEVICE,
    SERVER_DEVICE,
    SaveState,
    Writer,
    check_slots,
    check_space,
    current_save,
    rows,
    run,
    version_of,
)


def remove(*, writer: Writer, slot: str, precondition: Precondition) -> None:
    """Delete a slot; its versions can be restored for `SAVE_RESTORE_DAYS`.

    Raises `NotFound`, `VersionConflict`, `SaveServerOnly`.
    """
    arguments = {
        "player": writer.player_id,
        "game": writer.game_id,
        "slot": slot,
        "version": version_of(precondition.match),
        "any_version": precondition.any_version,
        "trusted": writer.trusted,
    }
    with transaction.atomic():
        advisory_lock("saves", writer.player_id)
        row = run(
            """UPDATE progress_save SET deleted_at = statement_timestamp()
               WHERE player_id = %(player)s::uuid AND slot = %(slot)s::text
                 AND game_id = %(game)s::uuid AND deleted_at IS NULL
                 AND (version = %(version)s::bigint OR %(any_version)s::bool)
                 AND (access <> 'server' OR %(trusted)s::bool)
               RETURNING id""",
            arguments,
        )
        if row is not None:
            forget_beyond(writer.player_id)
            SAVES.labels("deleted").inc()
            return
    current = current_save(writer, slot)
    if current is None:
        raise NotFound("There is no such save")
    if current.access == "server" and not writer.trusted:
        raise SaveServerOnly
    SAVES.labels("conflict").inc()
    raise VersionConflict(current=current.as_current())


def forget_beyond(player_id: UUID) -> None:
    """Keep no more deleted slots of a player than slots, or deleting would be free storage."""
    ids = [
        row_id
        for (row_id,) in rows(
            """SELECT id FROM progress_save WHERE player_id = %(player)s AND deleted_at IS NOT NULL
               ORDER BY deleted_at DESC OFFSET %(kept)s""",
            {"player": player_id, "kept": settings.SAVE_MAX_SLOTS},
        )
    ]
    _erase(ids)


def _erase(ids: list[UUID]) -> None:
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM progress_saveversion WHERE save_id = ANY(%s::uuid[])", [ids])
        cursor.execute("DELETE FROM progress_save WHERE id = ANY(%s::uuid[])", [ids])
    SAVES_PURGED.inc(len(ids))


def restore(
    *, writer: Writer, slot: str, version: int, precondition: Precondition | None = None
) -> SaveState:
    """Write an earlier version again, as a new one; a deleted slot comes back with it.

    `precondition` is checked when there is one. Raises `NotFound`, `VersionConflict`,
    `SaveServerOnly`, `SaveSlotsFull`, `SaveSpaceFull`.
    """
    with transaction.atomic():
        advisory_lock("saves", writer.player_id)
        found = run(
            """SELECT s.id, s.version, s.access, s.deleted_at, v.size
               FROM progress_save s JOIN progress_saveversion v ON v.save_id = s.id
               WHERE s.player_id = %(player)s::uuid AND s.slot = %(slot)s::text
                 AND s.game_id = %(game)s::uuid AND v.version = %(version)s::bigint
                 AND (s.deleted_at IS NULL OR s.deleted_at > %(since)s::timestamptz)
               FOR UPDATE OF s""",
            {
                "player": writer.player_id,
                "slot": slot,
                "game": writer.game_id,
                "version": version,
                "since": restorable_since(),
            },
        )
        if found is None:
            raise NotFound("There is no such version")
        row_id, current_version, access, deleted_at, size = found
        if access == "server" and not writer.trusted:
            raise SaveServerOnly
        if precondition is not None and not _holds(precondition, current_version, deleted_at):
            current = current_save(writer, slot)
            SAVES.labels("conflict").inc()
            raise VersionConflict(current=current.as_current() if current else None)
        if deleted_at is not None:
            check_slots(writer.player_id)
        check_space(writer.player_id, slot, size)
        _write_again(writer, row_id, version)
        SAVES.labels("restored").inc()
        restored = current_save(writer, slot)
        if restored is None:
            raise AssertionError("The row is locked, and was just written")
        return restored


def _holds(precondition: Precondition, version: int, deleted_at: datetime | None) -> bool:
    if precondition.must_not_exist:
        return deleted_at is not None
    if deleted_at is not None:
        return False
    return precondition.any_version or version_of(precondition.match) == version


def _write_again(writer: Writer, row_id: UUID, version: int) -> None:
    arguments = {
        "id": row_id,
        "old": version,
        "session": writer.session_id,
        "device": SERVER_DEVICE,
        "kept": settings.SAVE_KEPT_VERSIONS,
    }
    run(
        f"""WITH old AS (
            SELECT * FROM progress_saveversion
            WHERE save_id = %(id)s::uuid AND version = %(old)s::bigint
        ), put AS (
            UPDATE progress_save s SET
                version = s.version + 1, size = old.size, sha256 = old.sha256,
                content_type = old.content_type, device = {DEVICE},
                updated_at = statement_timestamp(), deleted_at = NULL
            FROM old WHERE s.id = %(id)s::uuid
            RETURNING s.id, s.version, s.device, s.updated_at
        ), added AS (
            INSERT INTO progress_saveversion
                (save_id, version, size, sha256, content_type, device, created_at,
                 restored_from, body)
            SELECT put.id, put.version, old.size, old.sha256, old.content_type, put.device,
                   put.updated_at, old.version, old.body
            FROM put, old
        ), trimmed AS (
            DELETE FROM progress_saveversion v USING put
            WHERE v.save_id = put.id AND v.version <= put.version - %(kept)s::int
        ) SELECT version FROM put""",  # noqa: S608 (made of constants)
        arguments,
    )


def restorable_since() -> datetime:
    """Slots deleted before this moment are gone."""
    return timezone.now() - timedelta(days=settings.SAVE_RESTORE_DAYS)


def purge_deleted(*, batch: int = 500) -> int:
    """Remove slots whose time for restoring is over, in small transactions; how many."""
    total = 0
    while True:
        with transaction.atomic():
            ids = [
                row_id
                for (row_id,) in rows(
                    """SELECT id FROM progress_save WHERE deleted_at < %(since)s::timestamptz
                       ORDER BY deleted_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED""",
                    {"since": restorable_since(), "batch": batch},
                )
            ]
            _erase(ids)
        total += len(ids)
        if len(ids) < batch:
            return total
