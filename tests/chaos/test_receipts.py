"""Workers are killed at every step from a receipt to its end, and from a refund to its: everything
happens once, and the platform is told."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from accounts.models import Game
from config.quickstart.processes import wait_until
from store import tasks
from store.models import (
    Order,
    PlatformApp,
    PlatformNotice,
    PlatformPurchase,
    Transaction,
    Watermark,
)
from store.services import verification
from tests.chaos.market import Market, Sale, open_market
from tests.chaos.workers import traps, worker
from tests.concurrency.test_ledger import forget_the_broken_books
from tests.fakes.faults import HANG
from tests.fakes.platform import EPOCH
from tests.store.conftest import balance_of, stack_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]
# Seconds until a worker of many processes got somewhere, on a machine that does much else.
SOON = 240


@dataclass(frozen=True)
class Trap:
    """A statement in the database that does not get further: see `Traps.lay`."""

    when: str
    write: str
    table: str
    on: str


@dataclass(frozen=True)
class Step:
    """Where a worker dies.

    at       in a statement, or while the platform does not answer a request for this path
    sold     what was bought, see `Sale`
    before   what was done before the worker began
    act      what makes it begin
    booked   how many transactions of the player the ledger holds when the worker is dead
    """

    at: Trap | str
    booked: int
    sold: str = "gems"
    before: Callable[[Market, Sale], None] | None = None
    act: Callable[[Market, Sale], None] = Market.submit

    @property
    def is_sweep(self) -> bool:
        """A job that the beat starts, and which takes up whatever is due."""
        return self.act not in (Market.submit, Market.refund)

    @property
    def is_refund(self) -> bool:
        return self.act is Market.refund or self.before in (
            Market.refund_unheard,
            Market.refund_unsaid,
        )


def beat(task: Any) -> Callable[[Market, Sale], None]:
    return lambda market, sale: task.delay()


ORDER, PURCHASE, LEDGER = "store_order", "store_platformpurchase", "store_transaction"
BOUGHT = "NEW.transaction_id = '{key}'"
BOOKED = Trap("BEFORE", "UPDATE", PURCHASE, f"NEW.state = 'granted' AND {BOUGHT}")
COMMITTING = Trap("COMMIT", "INSERT", LEDGER, "{player}")
GRANTED = Trap("BEFORE", "UPDATE", ORDER, "NEW.state = 'accepted' AND {player}")
TOLD = Trap("BEFORE", "UPDATE", PURCHASE, f"NEW.told = 'done' AND {BOUGHT}")
TAKEN = Trap("BEFORE", "UPDATE", PURCHASE, f"NEW.state = 'revoked' AND {BOUGHT}")
RECEIPTS = {
    "claiming": Step(
        Trap("BEFORE", "UPDATE", ORDER, "NEW.attempts > OLD.attempts AND {player}"), 0
    ),
    "claimed": Step(Trap("BEFORE", "UPDATE", ORDER, "NEW.state = 'verifying' AND {player}"), 0),
    "asking": Step("productsv2/tokens/{key}", 0),
    "verified": Step(Trap("BEFORE", "INSERT", PURCHASE, BOUGHT), 0),
    "purchase_written": Step(Trap("BEFORE", "INSERT", LEDGER, "{player}"), 0),
    "booked": Step(BOOKED, 0),
    "committing": Step(COMMITTING, 0),
    "granted": Step(GRANTED, 1),
    "ending": Step(Trap("COMMIT", "UPDATE", ORDER, "NEW.state = 'accepted' AND {player}"), 1),
    "before_telling": Step(
        Trap("BEFORE", "UPDATE", PURCHASE, f"NEW.attempts > OLD.attempts AND {BOUGHT}"), 1
    ),
    "consuming": Step("{key}:consume", 1),
    "consumed": Step(TOLD, 1),
    "acknowledging": Step("{key}:acknowledge", 1, "koi"),
    "acknowledged": Step(TOLD, 1, "koi"),
    "asking_apple": Step("transactions/{key}", 0, "apple_id"),
    "booked_of_apple": Step(BOOKED, 0, "apple"),
    "committing_of_apple": Step(COMMITTING, 0, "apple"),
    "granted_of_apple": Step(GRANTED, 1, "apple"),
}
REFUNDS = {
    "refund_asking": Step("productsv2/tokens/{key}", 1, "gems", Market.grant, Market.refund),
    "refund_booking": Step(
        Trap("BEFORE", "INSERT", LEDGER, "NEW.kind = 'refund' AND {player}"),
        *(1, "gems", Market.grant, Market.refund),
    ),
    "refund_booked": Step(TAKEN, 1, "gems", Market.grant, Market.refund),
    "refunded": Step(
        Trap(
            "BEFORE",
            "UPDATE",
            "store_platformnotice",
            "NEW.notice_id = '{notice}' AND NEW.state = 'done'",
        ),
        *(2, "gems", Market.grant, Market.refund),
    ),
    "refund_booked_of_apple": Step(TAKEN, 1, "apple", Market.grant, Market.refund),
}
SWEEPS = {
    "sweep": Step(BOOKED, 0, "gems", Market.submit_unheard, beat(tasks.sweep_orders)),
    "sweep_telling": Step(TOLD, 1, "koi", Market.process, beat(tasks.tell_platforms)),
    "sweep_refund": Step(TAKEN, 1, "gems", Market.refund_unheard, beat(tasks.sweep_notices)),
    "poll": Step(BOOKED, 0, "gems", Market.wait_for_money, beat(tasks.poll_pending)),
    # What was missed is stored, and the mark not moved.
    "look_back": Step(
        Trap("BEFORE", "UPDATE", "store_watermark", "NEW.until > OLD.until"),
        *(1, "gems", Market.refund_unsaid, beat(tasks.reconcile)),
    ),
}


@pytest.fixture
def market(game: Game, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    with open_market(game, tmp_path, monkeypatch) as made:
        yield made


def await_(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    assert wait_until(condition, SOON), what()


def kill_at(
    steps: Mapping[str, Step], market: Market, tmp_path: Path, **careless: str
) -> dict[str, Sale]:
    """One worker with a process for each step, each of which is held there; all are killed at
    once. What was sold."""
    sales = {name: market.sell(name, step.sold) for name, step in steps.items()}
    for name, step in steps.items():
        if step.before:
            step.before(market, sales[name])
    app = "careless" if careless else "worker"
    with traps() as laid:
        numbers = {
            name: laid.lay(step.at.when, step.at.write, step.at.table, sales[name].fill(step.at.on))
            for name, step in steps.items()
            if isinstance(step.at, Trap)
        }
        environment = market.environment | careless
        with worker(tmp_path, environment, processes=len(sales), app=app) as victim:
            # What sweeps is to find only what was there before.
            for is_sweep in (True, False):
                for name, step in steps.items():
                    if step.is_sweep is is_sweep:
                        begin(step, market, sales[name])

                def still_free(is_sweep: bool = is_sweep) -> list[str]:
                    caught = laid.caught()
                    free = [name for name, number in numbers.items() if number not in caught]
                    return [name for name in free if steps[name].is_sweep >= is_sweep]

                await_(
                    lambda: not (still_free() or market.play.planned or market.apple.planned),
                    lambda: (still_free(), (tmp_path / f"{app}.log").read_text()[-3000:]),
                )
            victim.kill()
    for name, sale in sales.items():
        found = Transaction.objects.filter(player_id=sale.player.player_id, kind__in=KINDS).count()
        assert found == steps[name].booked, name
    return sales


KINDS = ("purchase", "refund")


def begin(step: Step, market: Market, sale: Sale) -> None:
    if isinstance(step.at, str):
        (market.apple if sale.is_apples else market.play).fail(HANG, on=sale.fill(step.at))
    step.act(market, sale)


def go_on(market: Market, tmp_path: Path, **careless: str) -> None:
    """Another worker, five minutes later, and the beat, until nothing waits."""
    app = "careless" if careless else "worker"
    with worker(tmp_path, market.environment | careless, processes=2, app=app):
        for model in (Order, PlatformNotice, PlatformPurchase):
            model.objects.update(next_attempt_at=F("created_at"))
        Watermark.objects.update(next_attempt_at=EPOCH)
        tasks.reconcile.delay()
        tasks.poll_pending.delay()
        tasks.sweep_orders.delay()
        await_(lambda: not (open_orders() or pending() or marks()), waiting)
        tasks.sweep_notices.delay()
        tasks.tell_platforms.delay()
        await_(lambda: not (open_notices() or untold()), waiting)


def open_orders() -> list[Any]:
    return list(Order.objects.filter(state__in=Order.OPEN).values_list("state", "last_error"))


def pending() -> list[Any]:
    return list(PlatformPurchase.objects.filter(state="pending").values_list("transaction_id"))


def marks() -> list[Any]:
    return list(Watermark.objects.filter(next_attempt_at=EPOCH).values_list("pk"))


def open_notices() -> list[Any]:
    return list(PlatformNotice.objects.filter(state="received").values_list("kind", "last_error"))


def untold() -> list[Any]:
    rows = PlatformPurchase.objects.filter(told="due")
    return list(rows.values_list("transaction_id", "state", "last_error"))


def waiting() -> object:
    return open_orders(), pending(), marks(), open_notices(), untold()


def bookings(player_id: UUID, kind: str) -> int:
    return Transaction.objects.filter(player_id=player_id, kind=kind).count()


def holdings(player_id: UUID) -> tuple[Any, int, int]:
    return (balance_of(player_id, "gems"), stack_of(player_id, "seeds"), stack_of(player_id, "koi"))


def assert_granted_once(market: Market, sale: Sale) -> None:
    player, step = sale.player.player_id, sale.step
    assert bookings(player, "purchase") == 1, step
    assert holdings(player) == ((None, 0, 1) if sale.sold == "koi" else ((100, 0), 5, 0)), step
    row = PlatformPurchase.objects.get(transaction_id=sale.key)
    told = "none" if sale.is_apples else "done"
    assert (row.state, row.told, row.player_id) == ("granted", told, player), step
    assert Order.objects.get(player_id=player).state == "accepted", step
    if not sale.is_apples:
        at_google = market.play.products[sale.key]
        assert at_google["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED", step
        is_consumed = "CONSUMPTION_STATE_CONSUMED" in str(at_google)
        assert is_consumed is (sale.sold == "gems"), step


def assert_taken_back_once(sale: Sale) -> None:
    player, step = sale.player.player_id, sale.step
    assert (bookings(player, "purchase"), bookings(player, "refund")) == (1, 1), step
    assert holdings(player) == ((0, 0), 0, 0), step
    assert PlatformPurchase.objects.get(transaction_id=sale.key).state == "revoked", step
    if step != "look_back":
        assert PlatformNotice.objects.get(notice_id=sale.notice_id).state == "done", step


def test_worker_killed_at_every_step__everything_happens_once(
    market: Market, tmp_path: Path
) -> None:
    steps = RECEIPTS | REFUNDS | SWEEPS
    Watermark.objects.create(
        app=PlatformApp.objects.get(provider="google"),
        kind="recent",
        until=EPOCH,
        next_attempt_at=EPOCH,
    )
    sales = kill_at(steps, market, tmp_path)
    # The broker is away, and the web server dies after its answer.
    unheard = market.sell("received")
    market.submit_unheard(unheard)

    go_on(market, tmp_path)

    for name, sale in sales.items():
        if steps[name].is_refund:
            assert_taken_back_once(sale)
        else:
            assert_granted_once(market, sale)
    assert_granted_once(market, unheard)
    assert list(verification.verify()) == []


@pytest.mark.once
def test_control_that_notes_what_it_did_afterwards__doubles(market: Market, tmp_path: Path) -> None:
    """The same deaths of a worker that books in a transaction of its own, without a key."""
    names = ("booked", "booked_of_apple", "refund_booked", "refund_booked_of_apple")
    steps = {
        name: Step(step.at, step.booked + 1, step.sold, step.before, step.act)
        for name, step in (RECEIPTS | REFUNDS).items()
        if name in names
    }
    try:
        sales = kill_at(steps, market, tmp_path, CARELESS="doubles")
        go_on(market, tmp_path, CARELESS="doubles")
        for name, sale in sales.items():
            player = sale.player.player_id
            assert bookings(player, "refund" if steps[name].is_refund else "purchase") == 2, name
            gems = (-100, 0) if steps[name].is_refund else (200, 0)
            assert balance_of(player, "gems") == gems, name
    finally:
        forget_the_broken_books()


@pytest.mark.once
def test_control_that_notes_what_it_is_about_to_do__loses(market: Market, tmp_path: Path) -> None:
    """The same deaths of a worker that has done everything as soon as it begins."""
    before = ("asking", "verified", "purchase_written", "booked", "committing", "asking_apple")
    refunds = ("refund_asking", "refund_booked", "refund_booked_of_apple")
    steps = RECEIPTS | REFUNDS
    chosen = {name: steps[name] for name in (*before, *refunds, "consuming", "acknowledging")}
    sales = kill_at(chosen, market, tmp_path, CARELESS="loses")
    go_on(market, tmp_path, CARELESS="loses")
    for name in before:
        assert bookings(sales[name].player.player_id, "purchase") == 0, name
    for name in refunds:
        assert bookings(sales[name].player.player_id, "refund") == 0, name
    for name in ("consuming", "acknowledging"):
        state = market.play.products[sales[name].key]["acknowledgementState"]
        assert state == "ACKNOWLEDGEMENT_STATE_PENDING", name
