"""Wire formats of saves, stats and achievements."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from config.api.pagination import Page
from config.api.wire import UNSET, Input, Int64, Key, Output, UnsetType, utc
from progress.selectors import AchievementRule
from progress.services.save_rows import SaveState
from progress.services.stats import StatChange

MAX_UPDATES = 100


class SaveQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`?access=`: who may see and write the slot; chosen when it is made."""

    access: Literal["private", "public", "server"] | None = None


class Save(Output):
    """A save slot, without its bytes. `device` is the one that wrote it ("server": no device)."""

    slot: str
    version: int
    access: Literal["private", "public", "server"]
    size: int
    sha256: str
    content_type: str
    device: str
    updated_at: datetime


class SaveVersion(Save):
    """One kept version of a slot. `restored_from` is the version that it is a copy of."""

    restored_from: int | UnsetType = UNSET


class StatUpdate(Input, frozen=True):
    """A report: how much more (`sum`), or the value itself (`max`, `min`, `last`)."""

    stat: Key
    value: Int64


class StatUpdates(Input, frozen=True):
    """Reports that are applied together or not at all; each stat at most once."""

    updates: Annotated[list[StatUpdate], msgspec.Meta(min_length=1, max_length=MAX_UPDATES)]


class Stat(Output):
    """A stat's value."""

    stat: str
    value: int
    updated_at: datetime


class AchievementReward(Output):
    """What an unlock grants: amounts and quantities by key."""

    currencies: dict[str, int]
    items: dict[str, int]


class Achievement(Output):
    """An achievement with the player's progress. While a hidden one is locked, everything but
    its key is null."""

    key: str
    name: str | None
    description: str | None
    progress: int | None
    threshold: int | None
    hidden: bool
    unlocked_at: datetime | None
    reward: AchievementReward | None


class StatsUpdated(Output):
    """The stats after the reports, and the achievements that these unlocked."""

    results: list[Stat]
    unlocked: list[Achievement]


class AchievementProgress(Input, frozen=True):
    """How far the player has come. It never goes down: repeated and late reports do no harm."""

    progress: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


def save_out(state: SaveState) -> Save:
    return Save(
        slot=state.slot,
        version=state.version,
        access=msgspec.convert(state.access, Literal["private", "public", "server"]),
        size=state.size,
        sha256=state.sha256.hex(),
        content_type=state.content_type,
        device=state.device,
        updated_at=utc(state.updated_at),
    )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"sha256": bytes(row["sha256"]).hex(), "updated_at": utc(row["updated_at"])}


def saves_out(rows: list[dict[str, Any]]) -> Page[Save]:
    return Page(results=[Save(**_plain(row)) for row in rows])


def versions_out(rows: list[dict[str, Any]]) -> Page[SaveVersion]:
    results = []
    for row in rows:
        plain = _plain(row)
        restored_from = plain.pop("restored_from")
        results.append(
            SaveVersion(**plain, restored_from=UNSET if restored_from is None else restored_from)
        )
    return Page(results=results)


def stat_out(change: StatChange) -> Stat:
    return Stat(stat=change.stat, value=change.value, updated_at=utc(change.updated_at))


def achievement_out(
    rule: AchievementRule, progress: int, unlocked_at: datetime | None
) -> Achievement:
    """An achievement as its player may see it."""
    masked = rule.hidden and unlocked_at is None
    has_reward = bool(rule.currencies or rule.items)
    return Achievement(
        key=rule.key,
        name=None if masked else rule.name,
        description=None if masked else rule.description,
        progress=None if masked else progress,
        threshold=None if masked else rule.threshold,
        hidden=rule.hidden,
        unlocked_at=None if unlocked_at is None else utc(unlocked_at),
        reward=AchievementReward(currencies=rule.currencies, items=rule.items)
        if has_reward and not masked
        else None,
    )
