"""Hooks may refuse, fail, hang about and be killed; the server stays up and forgets nothing."""

import copy
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from config import hooks
from config.api.problems import Problem
from config.db.sweeper import backoff, claim
from config.models import HookCall
from config.tasks import run_due_hooks
from tests.threads import at_once

heard: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_before", "_after", "_slow", "_left_out_until"):
        monkeypatch.setattr(hooks, name, copy.deepcopy(getattr(hooks, name)))
    heard.clear()


def listen(**payload: Any) -> None:
    heard.append(payload)


def fail(**_: Any) -> None:
    raise RuntimeError("a bug in the studio's code")


@pytest.mark.django_db
def test_before__listener_refuses__caller_gets_its_problem() -> None:
    @hooks.before("score")
    def closed(**_: Any) -> None:
        raise hooks.HookRefused("The garden is closed")

    with pytest.raises(Problem) as caught:
        hooks.run_before("score", player_id="p")
    assert (caught.value.code, caught.value.detail) == ("refused_by_game", "The garden is closed")


@pytest.mark.django_db
def test_before__listener_breaks_its_query__the_transaction_is_still_good() -> None:
    @hooks.before("score")
    def bad_query(**_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    hooks.before("score")(listen)
    with transaction.atomic():
        hooks.run_before("score", player_id="p")
        assert HookCall.objects.count() == 0
    assert heard == [{"player_id": "p"}]


def test_before__slow_listener__is_left_out_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "SLOW_SECONDS", -1.0)
    hooks.before("slow")(listen)
    for _ in range(hooks.SLOW_CALLS + 3):
        hooks.run_before("slow")
    assert len(heard) == hooks.SLOW_CALLS
    hooks._left_out_until.clear()
    hooks.run_before("slow")
    assert len(heard) == hooks.SLOW_CALLS + 1


@pytest.mark.django_db(transaction=True)
def test_after__committed__called_once_with_its_payload() -> None:
    hooks.after("purchase")(listen)
    with transaction.atomic():
        hooks.run_after("purchase", purchase_id="1")
        assert heard == []
    run_due_hooks()
    run_due_hooks()
    assert heard == [{"purchase_id": "1"}]
    assert HookCall.objects.get().state == HookCall.State.DONE


@pytest.mark.django_db(transaction=True)
def test_after__rolled_back__never_called() -> None:
    hooks.after("purchase")(listen)

    def fails() -> None:
        with transaction.atomic():
            hooks.run_after("purchase", purchase_id="1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    run_due_hooks()
    assert heard == []


@pytest.mark.django_db(transaction=True)
def test_after__broker_down__row_is_there_and_the_sweeper_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks.after("purchase")(listen)

    def refuse(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(run_due_hooks, "delay", refuse)
    with transaction.atomic():
        hooks.run_after("purchase", purchase_id="1")
    assert hooks.run_due() == 1
    assert heard == [{"purchase_id": "1"}]


@pytest.mark.django_db(transaction=True)
def test_after__listener_fails__tried_again_until_dead() -> None:
    hooks.after("purchase")(fail)
    hooks.run_after("purchase")
    for attempt in range(1, hooks.MAX_ATTEMPTS + 1):
        call = HookCall.objects.get()
        assert (call.state, call.attempts) == (HookCall.State.DUE, attempt - 1)
        HookCall.objects.update(next_attempt_at=timezone.now())
        assert hooks.run_due() == 0
    call = HookCall.objects.get()
    assert call.state == HookCall.State.DEAD
    assert "a bug in the studio's code" in call.last_error


@pytest.mark.django_db(transaction=True)
def test_after__listener_was_renamed__kept_and_said() -> None:
    hooks.after("purchase")(listen)
    hooks.run_after("purchase")
    hooks._after["purchase"].clear()
    hooks.run_due()
    assert "was it renamed" in HookCall.objects.get().last_error


def test_run_after__nobody_listens__writes_nothing() -> None:
    hooks.run_after("nothing", a=1)
    assert not hooks.has_after("nothing")


def due(count: int) -> None:
    for _ in range(count):
        HookCall.objects.create(hook="h", listener="l", payload={}, next_attempt_at=timezone.now())


@pytest.mark.django_db(transaction=True)
def test_claim__eight_workers_at_once__each_row_goes_to_one() -> None:
    due(40)
    results = at_once(
        8, lambda _: [c.pk for c in claim(HookCall.objects.all(), limit=40, lease=hooks.LEASE)]
    )
    taken = [pk for r in results if isinstance(r, list) for pk in r]
    assert len(taken) == len(set(taken)) == 40


@pytest.mark.django_db(transaction=True)
def test_claim__control_without_locks__rows_go_to_several() -> None:
    """Reading what is due and then marking it, without a lock between."""
    from threading import Barrier

    due(5)
    read = Barrier(8)

    def read_then_mark(_: int) -> list[Any]:
        rows = list(HookCall.objects.filter(next_attempt_at__lte=timezone.now()))
        read.wait(30)
        HookCall.objects.update(next_attempt_at=timezone.now() + hooks.LEASE)
        return [row.pk for row in rows]

    results = at_once(8, read_then_mark)
    assert len([pk for r in results if isinstance(r, list) for pk in r]) == 40


@pytest.mark.django_db(transaction=True)
def test_claim__worker_was_killed__row_is_due_again_after_its_lease() -> None:
    due(1)
    assert len(claim(HookCall.objects.all(), limit=5, lease=timedelta(0))) == 1
    (again,) = claim(HookCall.objects.all(), limit=5, lease=hooks.LEASE)
    assert again.attempts == 2
    assert claim(HookCall.objects.all(), limit=5, lease=hooks.LEASE) == []


def test_backoff__grows_and_stays_bounded() -> None:
    for attempt in range(60):
        wait = backoff(attempt).total_seconds()
        assert 1 <= wait <= min(max(1, 5 * 2**attempt), 3600)
