"""What writes of saves share: who writes, how a save stands, the bounds."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from config.api.wire import utc
from progress.errors import SaveSlotsFull, SaveSpaceFull

SERVER_DEVICE = "server"
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Who writes: a player's session, the game's server, or a member of staff."""

    game_id: UUID
    player_id: UUID
    session_id: UUID | None = None
    trusted: bool = False


@dataclass(frozen=True, kw_only=True)
class SaveState:
    """A save as it stands after a write, or as a read finds it. Times are UTC."""

    slot: str
    version: int
    access: str
    size: int
    sha256: bytes
    content_type: str
    device: str
    updated_at: datetime
    created: bool = False
    replayed: bool = False

    def as_current(self) -> dict[str, Any]:
        """What a version conflict says about the version that won."""
        return {
            "version": self.version,
            "size": self.size,
            "sha256": self.sha256.hex(),
            "device": self.device,
            "updated_at": utc(self.updated_at),
        }


# The device is the session's own word, so that it can't differ from what `GET /v1/sessions` shows.
DEVICE = """COALESCE((SELECT left(s.device, 100) FROM accounts_session s
                       WHERE s.id = %(session)s::uuid), %(device)s::text)"""


def version_of(tag: str | None) -> int:
    """The version that an entity tag names; -1 for none, or for one that was never made here."""
    return int(tag) if tag is not None and _VERSION.fullmatch(tag) else -1


def run(statement: str, arguments: dict[str, Any]) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        row: tuple[Any, ...] | None = cursor.fetchone()
    return row


def rows(statement: str, arguments: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def current_save(writer: Writer, slot: str) -> SaveState | None:
    row = run(
        """SELECT slot, version, access, size, sha256, content_type, device, updated_at
           FROM progress_save
           WHERE player_id = %(player)s AND slot = %(slot)s AND game_id = %(game)s
             AND deleted_at IS NULL""",
        {"player": writer.player_id, "slot": slot, "game": writer.game_id},
    )
    if row is None:
        return None
    return SaveState(
        slot=row[0],
        version=row[1],
        access=row[2],
        size=row[3],
        sha256=bytes(row[4]),
        content_type=row[5],
        device=row[6],
        updated_at=row[7],
    )


def check_slots(player_id: UUID) -> None:
    row = run(
        "SELECT count(*) FROM progress_save WHERE player_id = %(player)s AND deleted_at IS NULL",
        {"player": player_id},
    )
    if row is not None and row[0] >= settings.SAVE_MAX_SLOTS:
        raise SaveSlotsFull(f"A player has {settings.SAVE_MAX_SLOTS} slots; delete one first")


def space_can_run_out() -> bool:
    """Whether full slots could exceed the player's space (by default they can't)."""
    slots: int = settings.SAVE_MAX_SLOTS * settings.SAVE_MAX_BYTES
    return slots > int(settings.SAVE_MAX_TOTAL_BYTES)


def check_space(player_id: UUID, slot: str, size: int) -> None:
    if not space_can_run_out():
        return
    row = run(
        """SELECT COALESCE(sum(size), 0) FROM progress_save
           WHERE player_id = %(player)s AND slot <> %(slot)s AND deleted_at IS NULL""",
        {"player": player_id, "slot": slot},
    )
    if row is not None and row[0] + size > settings.SAVE_MAX_TOTAL_BYTES:
        raise SaveSpaceFull(f"A player's saves may have {settings.SAVE_MAX_TOTAL_BYTES} bytes")
