"""What the page of one purchase with real money shows, each of a bounded number of rows."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from accounts.backoffice import Panel
from store import panels
from store.models import (
    Entry,
    Order,
    OwnerConflict,
    PlatformPurchase,
    PurchaseStep,
    StackMovement,
    Transaction,
)

SHOWN = 200
BY = {
    PurchaseStep.Cause.ORDER: "receipt",
    PurchaseStep.Cause.NOTICE: "platform's notification",
    PurchaseStep.Cause.RECONCILIATION: "asking the platform",
    PurchaseStep.Cause.STAFF: "staff",
    PurchaseStep.Cause.SWEEPER: "worker",
}
DECISIONS = {
    "grant": "Granted by staff",
    "refuse": "Refused by staff",
    "refund": "Taken back by staff",
    "give_back": "Given back by staff",
}
STATES = {
    "pending": "Waits for the payment",
    "verified": "Verified",
    "granted": "Granted",
    "quarantined": "Held back",
    "partially_revoked": "Refunded in part",
    "revoked": "Refunded",
    "cancelled": "Cancelled",
}
Line = tuple[datetime, str, str, object, str]


def timeline(row: PlatformPurchase) -> Panel:
    """Everything that happened to a purchase and its receipts, oldest first."""
    orders = {order.pk: order for order in orders_of(row)}
    about = Q(purchase=row) | Q(order__in=list(orders))
    lines: list[Line] = [
        (
            order.created_at,
            "Receipt received",
            f"from {order.player}",
            panels.link("store_order", order.pk, short=True),
            "",
        )
        for order in orders.values()
    ]
    if row.purchased_at:
        lines.append((row.purchased_at, "Bought", f"says {row.provider}", "", ""))
    lines += [_of_step(step) for step in PurchaseStep.objects.filter(about).order_by("id")[:SHOWN]]
    lines.sort(key=lambda line: line[0])
    return _story(lines)


def orders_of(row: PlatformPurchase) -> list[Order]:
    """The receipts of a purchase: the owner's, and those of players who claim it, too."""
    claims = OwnerConflict.objects.filter(purchase=row).values_list("order_id", flat=True)
    ids = set(claims[:SHOWN]) | ({row.order_id} if row.order_id else set())
    return list(Order.objects.filter(pk__in=ids).select_related("player").defer("data"))


def steps(rows: Iterable[PurchaseStep]) -> Panel:
    """The steps of one order."""
    return _story([_of_step(step) for step in rows])


def _story(lines: Iterable[Line]) -> Panel:
    """With seconds: many steps are made within a minute."""
    return Panel(
        ("When (UTC)", "What", "By", "Reference", "Detail"),
        [(f"{line[0].astimezone(UTC):%Y-%m-%d %H:%M:%S}", *line[1:]) for line in lines],
    )


def _of_step(step: PurchaseStep) -> Line:
    return (step.at, _what(step), BY[PurchaseStep.Cause(step.cause)], _reference(step), _told(step))


def _what(step: PurchaseStep) -> str:
    detail: dict[str, Any] = step.detail
    if step.order_id is not None:
        return f"Receipt {step.after}" if step.after != "retry" else "Receipt to be verified again"
    if "decision" in detail:
        return DECISIONS.get(str(detail["decision"]), "Decided by staff")
    if "told" in detail:
        return "Platform told" if detail["told"] == "done" else "Platform could not be told"
    if "moved_from" in detail:
        return "Moved to another player"
    if "refused_claim_of" in detail:
        return "Left with its owner"
    if "reopened_claim_of" in detail:
        return "Claim to be decided again"
    if "tried_again" in detail:
        return "Tried again by staff"
    if "given" in detail:
        return "Refund taken back"
    return STATES.get(step.after, step.after)


def _reference(step: PurchaseStep) -> object:
    if step.cause == PurchaseStep.Cause.ORDER:
        try:
            return panels.link("store_order", UUID(step.reference), short=True)
        except ValueError:
            return step.reference
    return step.reference


def _told(step: PurchaseStep) -> str:
    """`reason`, amounts and codes, as a sentence of sorts."""
    detail: dict[str, Any] = step.detail
    moved = [name for name in ("taken", "given", "short") if detail.get(name)]
    parts = [
        str(detail.get("reason", "")),
        f"{detail['revoked'] / 1000:g} % refunded in all" if "revoked" in detail else "",
        *(f"{name} {panels.amounts(detail[name])}" for name in moved),
        str(detail.get("code", "")),
    ]
    players = {
        "moved_from": "from player",
        "refused_claim_of": "not to player",
        "reopened_claim_of": "of player",
    }
    parts += [f"{text} {detail[name]}" for name, text in players.items() if name in detail]
    parts += detail.get("tried_again", [])
    return " · ".join(filter(None, parts))


def ledger_keys(row: PlatformPurchase) -> list[str]:
    """The keys that a purchase's transactions may have: the grant's, and one for each reversal."""
    ways = ("revoke", "regrant")
    reversals = [
        f"purchase:{row.pk}:{way}:{number}"
        for number in range(1, min(row.reversals, SHOWN) + 1)
        for way in ways
    ]
    return [f"purchase:{row.pk}:grant", *reversals]


def ledger(row: PlatformPurchase) -> Panel:
    """The ledger transactions of a purchase with what they moved; four queries."""
    found = Transaction.objects.filter(game_id=row.game_id, key__in=ledger_keys(row))
    rows = list(found.select_related("player").order_by("created_at"))
    if not rows:
        return Panel((), (), note="Nothing was granted, so the ledger has nothing of it.")
    moved = _moved(rows)
    return Panel(
        ("When", "What", "Player", "Moved", "Transaction"),
        [
            (
                one.created_at,
                {"platform_purchase": "granted"}.get(one.reason, one.reason.replace("_", " ")),
                panels.link("store_wallet", one.player_id, text=str(one.player)),
                ", ".join(moved.get(one.pk, ())) or "nothing",
                panels.link("store_transaction", one.pk, short=True),
            )
            for one in rows
        ],
    )


def _moved(rows: Sequence[Transaction]) -> dict[UUID, list[str]]:
    """What transactions moved, by their id. Both tables are partitioned by time."""
    times = {row.created_at for row in rows}
    ids = [row.pk for row in rows]
    moved: dict[UUID, list[str]] = {}
    entries = Entry.objects.filter(
        created_at__in=times, transaction_id__in=ids, account="wallet"
    ).select_related("currency")
    for entry in entries:
        moved.setdefault(entry.transaction_id, []).append(
            f"{entry.paid + entry.earned:+,} {entry.currency.key}"
        )
    movements = StackMovement.objects.filter(created_at__in=times, transaction_id__in=ids)
    for movement in movements.select_related("item"):
        moved.setdefault(movement.transaction_id, []).append(
            f"{movement.quantity:+,} {movement.item.key}"
        )
    return moved


def claims(row: PlatformPurchase) -> Panel | None:
    """Who else claims a purchase; None where nobody does."""
    found = OwnerConflict.objects.filter(purchase=row).select_related("claimant").order_by("-id")
    rows = list(found[:SHOWN])
    if not rows:
        return None
    return Panel(
        ("When", "Claimant", "State", "Decided by", "Conflict"),
        [
            (
                one.created_at,
                panels.link("accounts_player", one.claimant_id, text=str(one.claimant)),
                one.get_state_display(),
                one.decided_by,
                panels.link("store_ownerconflict", one.pk, short=True),
            )
            for one in rows
        ],
    )
