"""`Idempotency-Key`: one effect and one answer, also when thirty requests arrive together."""

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from config.api import idempotency
from config.api.callers import Caller
from config.api.problems import (
    IdempotencyInProgress,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequestHeader,
)
from config.api.views import answer
from config.db.ids import uuid7
from config.models import HookCall, IdempotencyRecord
from tests.threads import at_once

OWNER = UUID(int=1)


def request(body: bytes = b"{}", key: str | None = "k", owner: UUID = OWNER) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    made: Any = RequestFactory().generic("POST", "/v1/things", body, headers=headers)
    made.raw_body = body
    made.caller = Caller(kind="player", game_id=OWNER, limit_id="", player_id=owner)
    return made


def effect() -> HttpResponse:
    """A change that can be counted: one row."""
    made = HookCall.objects.create(
        hook="t", listener="t", payload={}, next_attempt_at=timezone.now()
    )
    return answer({"id": str(made.pk)}, status=201, headers={"Location": f"/x/{made.pk}"})


def once(req: Any = None, endpoint: str = "Things.create") -> HttpResponse:
    req = req or request()
    return idempotency.once(req, endpoint, req.META["HTTP_IDEMPOTENCY_KEY"], effect)


def effects() -> int:
    return HookCall.objects.count()


@pytest.mark.django_db
def test_once__same_key_and_body__answers_with_the_first_outcome() -> None:
    first, second = once(), once()
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert second["Location"] == first["Location"]
    assert effects() == 1


@pytest.mark.django_db
def test_once__same_key_other_body__refused() -> None:
    once()
    with pytest.raises(IdempotencyKeyReused):
        once(request(b'{"x": 1}'))
    assert effects() == 1


@pytest.mark.django_db
def test_once__other_owner_or_endpoint__is_another_key() -> None:
    once()
    once(request(owner=UUID(int=2)))
    once(endpoint="Others.create")
    assert effects() == 3


@pytest.mark.django_db
def test_once__first_attempt_refused__key_is_free_again() -> None:
    req = request()
    with pytest.raises(ValueError, match="not now"):
        idempotency.once(req, "Things.create", "k", refuse)
    assert once(req).status_code == 201
    assert effects() == 1


def refuse() -> HttpResponse:
    effect()
    raise ValueError("not now")


@pytest.mark.django_db(transaction=True)
def test_once__thirty_two_at_once__one_effect_and_one_answer() -> None:
    results = at_once(32, lambda _: once())
    assert all(isinstance(r, HttpResponse) for r in results), results
    assert len({r.content for r in results if isinstance(r, HttpResponse)}) == 1
    replayed = [r for r in results if isinstance(r, HttpResponse) and "Idempotent-Replayed" in r]
    assert len(replayed) == 31
    assert effects() == 1


@pytest.mark.django_db(transaction=True)
def test_once__control_with_check_then_act__has_many_effects() -> None:
    """Without the row as a lock: look whether the key is there, then act."""
    looked = threading.Barrier(32)

    def check_then_act(_: int) -> None:
        seen = IdempotencyRecord.objects.filter(owner=OWNER, key="k").exists()
        looked.wait(30)
        if not seen:
            effect()

    at_once(32, check_then_act)
    assert effects() == 32


@pytest.mark.django_db(transaction=True)
def test_once__first_still_running__in_progress_with_retry_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_MS", 100)
    holding, release = threading.Event(), threading.Event()

    def slow() -> HttpResponse:
        holding.set()
        release.wait(30)
        return effect()

    def first(_: int) -> HttpResponse:
        return idempotency.once(request(), "Things.create", "k", slow)

    runner = threading.Thread(target=lambda: at_once(1, first))
    runner.start()
    assert holding.wait(30)
    with pytest.raises(IdempotencyInProgress) as caught:
        once()
    assert caught.value.headers["Retry-After"] == "1"
    release.set()
    runner.join(30)
    assert once()["Idempotent-Replayed"] == "true"
    assert effects() == 1


@pytest.mark.django_db
def test_read_key__malformed__refused() -> None:
    for key in ("", "a b", "é", "x" * 201, "a\tb"):
        with pytest.raises(InvalidRequestHeader):
            idempotency.read_key(request(key=key))
    assert idempotency.read_key(request(key="x" * 200)) == "x" * 200
    assert idempotency.read_key(request(key=None)) is None
    with pytest.raises(IdempotencyKeyRequired):
        idempotency.read_key(request(key=None), required=True)


@pytest.mark.django_db
def test_forget_old__only_keys_past_their_days__deleted(settings: Any) -> None:
    settings.IDEMPOTENCY_DAYS = 14
    once()
    once(request(owner=uuid7()))
    old = timezone.now() - timedelta(days=15)
    IdempotencyRecord.objects.filter(owner=OWNER).update(created_at=old)
    assert idempotency.forget_old(batch=1) == 1
    assert IdempotencyRecord.objects.count() == 1
