"""What does not go on by itself: dead letters, and what waits for somebody's decision.

`sections` reads each through its partial index; `try_again` makes dead letters due again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from accounts.backoffice import audit, shown
from config.hooks import hasten
from store import explanations, panels, tasks
from store.models import Export, Order, OwnerConflict, PlatformNotice, PlatformPurchase
from store.services import decisions, exports, notices, telling

SHOWN = 50
AT_ONCE = 200


@dataclass(frozen=True)
class Letter:
    """One that is stuck: since when, whose, what, why, and a link to its page."""

    pk: UUID
    since: object
    who: object
    what: str
    why: str
    link: object


@dataclass(frozen=True)
class Section:
    """One kind of them, oldest first. `total` is counted up to a bound; `can_retry`: there is
    something to try again, and not only to decide."""

    kind: str
    title: str
    hint: str
    total: str
    url: str
    can_retry: bool
    letters: list[Letter] = field(default_factory=list)


def dead_orders() -> "QuerySet[Order]":
    return Order.objects.filter(state=Order.State.DEAD)


def dead_notices() -> "QuerySet[PlatformNotice]":
    return PlatformNotice.objects.filter(state=PlatformNotice.State.DEAD)


def untold() -> "QuerySet[PlatformPurchase]":
    return PlatformPurchase.objects.filter(told=PlatformPurchase.Told.FAILED)


def held_back() -> "QuerySet[PlatformPurchase]":
    """What was paid for, and waits for a decision. Nobody pays in a sandbox."""
    return PlatformPurchase.objects.filter(
        state=PlatformPurchase.State.QUARANTINED, environment="production", decision=""
    )


def open_conflicts() -> "QuerySet[OwnerConflict]":
    return OwnerConflict.objects.filter(state=OwnerConflict.State.OPEN)


def failed_exports() -> "QuerySet[Export]":
    return Export.objects.filter(state=Export.State.FAILED)


def sections() -> list[Section]:
    """All that is stuck, what money was taken for first."""
    return [
        _section(
            "orders",
            "Receipts that could not be verified or granted",
            "Money may have been taken and nothing given.",
            dead_orders().select_related("player").defer("data"),
            "store_order",
            "?state__exact=dead",
            lambda row: Letter(
                row.pk,
                shown(row.created_at),
                panels.link("accounts_player", row.player_id, text=str(row.player)),
                f"{row.provider}: {row.product or 'unknown'}",
                explanations.of_code(row.code)[0],
                panels.link("store_order", row.pk, short=True),
            ),
        ),
        _section(
            "held",
            "Purchases that are held back",
            "Money was taken; grant or refuse each on its page.",
            held_back().select_related("player"),
            "store_platformpurchase",
            "?state__exact=quarantined&environment=production&decision__exact=",
            _purchase,
            can_retry=False,
        ),
        _section(
            "conflicts",
            "Purchases that two players claim",
            "Leave or move each on its page.",
            open_conflicts().select_related("claimant", "purchase__player"),
            "store_ownerconflict",
            "?state__exact=open",
            lambda row: Letter(
                row.pk,
                shown(row.created_at),
                panels.link("accounts_player", row.claimant_id, text=str(row.claimant)),
                row.purchase.product,
                f"Owned by {row.purchase.player or 'nobody'}.",
                panels.link("store_platformpurchase", row.purchase_id, short=True),
            ),
            can_retry=False,
        ),
        _section(
            "untold",
            "Purchases of which the platform could not be told",
            "They are granted; Google gives the money back after three days.",
            untold().select_related("player"),
            "store_platformpurchase",
            "?told__exact=failed",
            _purchase,
        ),
        _section(
            "notices",
            "Notifications that could not be processed",
            "Refunds or renewals may be missing.",
            dead_notices().defer("data"),
            "store_platformnotice",
            "?state__exact=dead",
            lambda row: Letter(
                row.pk,
                shown(row.created_at),
                row.provider,
                row.kind,
                explanations.of_code(row.last_error)[0],
                panels.link("store_platformnotice", row.pk, short=True),
            ),
        ),
        _section(
            "exports",
            "Exports that failed",
            "",
            failed_exports().select_related("author"),
            "store_export",
            "?state__exact=failed",
            lambda row: Letter(
                row.pk,
                shown(row.created_at),
                row.author.get_username(),
                row.title,
                row.last_error,
                panels.link("store_export", row.pk, short=True),
            ),
        ),
    ]


def _section(
    kind: str,
    title: str,
    hint: str,
    rows: "QuerySet[Any]",
    page: str,
    query: str,
    read: Callable[[Any], Letter],
    *,
    can_retry: bool = True,
) -> Section:
    found = list(rows.order_by("pk")[: SHOWN + 1])
    total = str(len(found))
    if len(found) > SHOWN:
        counted = rows.order_by()[:1001].count()
        total = "more than 1,000" if counted > 1000 else f"{counted:,}"
    return Section(
        kind,
        title,
        hint,
        total,
        reverse(f"admin:{page}_changelist") + query,
        can_retry,
        [read(row) for row in found[:SHOWN]],
    )


def _purchase(row: PlatformPurchase) -> Letter:
    return Letter(
        row.pk,
        shown(row.created_at),
        panels.link("accounts_player", row.player_id, text=str(row.player))
        if row.player_id
        else "nobody",
        f"{row.provider}: {row.product}",
        explanations.of_purchase(row).text,
        panels.link("store_platformpurchase", row.pk, short=True),
    )


@dataclass(frozen=True)
class Way:
    """How one kind is tried again: which rows may be, what does it, the task to hasten."""

    letters: Callable[[], "QuerySet[Any]"]
    may_be: Callable[[], "QuerySet[Any]"]
    act: Callable[[UUID, str], object]
    task: Any
    takes_key: bool = False


def ended_badly() -> "QuerySet[Order]":
    return Order.objects.filter(state__in=(Order.State.DEAD, Order.State.REJECTED))


WAYS = {
    "orders": Way(
        dead_orders,
        ended_badly,
        lambda key, actor: decisions.retry_order(order_id=key, actor=actor),
        tasks.process_order,
        takes_key=True,
    ),
    "notices": Way(
        dead_notices,
        dead_notices,
        lambda key, actor: notices.again(notice_id=key),
        tasks.process_notice,
        takes_key=True,
    ),
    "untold": Way(
        untold, untold, lambda key, actor: telling.again(purchase_id=key), tasks.tell_platforms
    ),
    "exports": Way(
        failed_exports,
        failed_exports,
        lambda key, actor: exports.again(export_id=key),
        tasks.write_exports,
    ),
}


def waiting(kind: str) -> list[UUID]:
    """The oldest that "try all again" is about; at most `AT_ONCE`."""
    return list(WAYS[kind].letters().order_by("pk").values_list("pk", flat=True)[:AT_ONCE])


def try_again(*, kind: str, keys: Sequence[UUID], actor: str) -> int:
    """Make what is stuck due now, each with a line in the audit log; how many there were. What
    somebody else has made due meanwhile is passed over."""
    return sum(_again(WAYS[kind], key, actor) for key in keys)


def _again(way: Way, key: UUID, actor: str) -> bool:
    with transaction.atomic():
        row = way.may_be().select_for_update(of=("self",)).filter(pk=key).first()
        if row is None or not way.act(key, actor):
            return False
        audit(row, tried_again=("", actor))
        hasten(way.task, *([str(key)] if way.takes_key else []))
    return True
