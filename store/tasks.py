"""The store's jobs."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import shared_task

from config.db.sweeper import count_due
from store.services import (
    approvals,
    campaigns,
    code_keys,
    exports,
    notices,
    orders,
    receipt_figures,
    reconciliation,
    subscription_checks,
    telling,
    verification,
)

# A sweep ends before the next one begins; one that leaves work starts the next itself.
SWEEP_SECONDS = 25.0
# Of what waits for platforms more is handed out, so that all workers wait for them: in short tasks,
# behind which what players send now need not wait for long. Those that have not begun when the next
# sweep comes are dropped: that one hands out what is left.
ROWS_IN_A_TASK, MOST_TASKS = 10, 100
KINDS: dict[str, tuple[Any, Callable[[], bool]]] = {
    "orders": (orders, orders.process),
    "notices": (notices, notices.process),
    "telling": (telling, telling.tell),
}


@shared_task
def verify_ledger() -> int:
    """Recompute the books of all games; how many differences there are. Reads only."""
    return verification.verify_and_report()


@shared_task
def make_codes() -> int:
    """Generate the promotion codes that batches lack; how many were made."""
    return campaigns.make_due_codes()


@shared_task
def tidy() -> None:
    """Expire grant requests that nobody decided, seal code keys with the present secret, and
    delete exports that are too old."""
    approvals.expire()
    code_keys.seal_again()
    exports.expire()


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def write_exports() -> int:
    """Go on with the files that staff ordered; how many turns it took."""
    return _sweep(write_exports, exports.write)


# --- real money: all of it may run twice, and be killed anywhere ------------------------------


def _sweep(task: Any, act: Callable[[], bool]) -> int:
    """Do what is due, one after another, until nothing is or the time is over; how much it was."""
    done, is_over = _for_a_while(act)
    if is_over:
        task.apply_async(expires=60)
    return done


def _for_a_while(act: Callable[[], bool]) -> tuple[int, bool]:
    """How much was done, and whether that was for want of time."""
    end = time.monotonic() + SWEEP_SECONDS
    done = 0
    while act():
        done += 1
        if time.monotonic() >= end:
            return done, True
    return done, False


def _sweep_together(kind: str) -> int:
    """Hand out what is due, but for a part, and do what is left of it; how much that was here."""
    service, act = KINDS[kind]
    rows = count_due(service.due(), most=ROWS_IN_A_TASK * (MOST_TASKS + 1))
    for _ in range((rows - 1) // ROWS_IN_A_TASK):
        do_some.apply_async((kind,), expires=SWEEP_SECONDS)
    done, _ = _for_a_while(act)
    return done


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def do_some(kind: str) -> int:
    """Do a part of what is due of one of `KINDS`; how much it was."""
    _, act = KINDS[kind]
    done = 0
    while done < ROWS_IN_A_TASK and act():
        done += 1
    return done


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def process_order(order_id: str) -> None:
    """Verify a receipt and grant what was bought; then tell the platform."""
    if orders.process(order_id=UUID(order_id)):
        for purchase_id in orders.untold(order_id=UUID(order_id)):
            telling.tell(purchase_id=purchase_id)


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def sweep_orders() -> int:
    """Process the receipts that are due."""
    return _sweep_together("orders")


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def process_notice(notice_id: str) -> None:
    """Do what follows from a platform's notification."""
    notices.process(notice_id=UUID(notice_id))


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def sweep_notices() -> int:
    """Process the platforms' notifications that are due."""
    return _sweep_together("notices")


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def tell_platforms() -> int:
    """Tell the platforms what was granted."""
    return _sweep_together("telling")


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def poll_pending() -> int:
    """Ask what became of pending purchases."""
    return _sweep(poll_pending, reconciliation.poll)


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def ask_about_subscriptions() -> int:
    """Ask the platforms about subscriptions whose time has run out, and expire them."""
    return _sweep(ask_about_subscriptions, subscription_checks.ask)


@shared_task(acks_late=True, soft_time_limit=240, time_limit=270)
def ask_about_subscriptions_of(player_id: str) -> None:
    """Ask the platforms about a player's subscriptions that are due."""
    while subscription_checks.ask(player_id=UUID(player_id)):
        pass


@shared_task(acks_late=True)
def reconcile() -> int:
    """Ask the platforms for what their notifications may have missed."""
    reconciliation.watch()
    return _sweep(reconcile, reconciliation.look_back)


@shared_task
def measure_receipts() -> None:
    """Set the gauges that alerts look at."""
    receipt_figures.measure()
