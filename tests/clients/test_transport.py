"""Retries: what is repeated, with which key, for how long."""

from typing import Any

import pytest

from clients.python.evenkeel_client import (
    EvenkeelError,
    Guest,
    PlayerClient,
    RateLimitedError,
    UnreachableError,
)
from tests.clients.conftest import CUT_SHORT, Script

BUSY = (503, {"Retry-After": "2"}, {"code": "unavailable", "detail": "Later"})
FINE: tuple[int, dict[str, str], Any] = (200, {}, {"fine": True})


def test_call__lost_answers__repeated_with_the_same_key(script: Script) -> None:
    script.answers = [None, (CUT_SHORT, {}, {}), BUSY, FINE]
    retried: list[str] = []
    transport = script.transport(on_retry=retried.append)
    answer = transport.call("POST", "/v1/stats", headers={}, body={"updates": []})
    assert answer.json() == {"fine": True}
    assert retried == ["unreachable", "unreachable", "unavailable"]
    keys = script.keys()
    assert keys[0]
    assert keys == [keys[0]] * len(keys)
    assert script.pauses[-1] >= 2


def test_call__refusals__are_not_repeated(script: Script) -> None:
    for status, code in (
        (400, "invalid_json"),
        (409, "limit_reached"),
        (429, "stat_rate_exceeded"),
    ):
        script.answers = [(status, {}, {"code": code, "detail": "No"})]
        with pytest.raises(EvenkeelError) as refused:
            script.transport().call("GET", "/v1/x", headers={})
        assert (refused.value.status, refused.value.code) == (status, code)
    assert script.pauses == []


def test_call__rate_limited__waits_as_long_as_it_is_told(script: Script) -> None:
    limited = (429, {"Retry-After": "7"}, {"code": "rate_limited"})
    script.answers = [limited, FINE]
    script.transport().call("GET", "/v1/x", headers={})
    assert script.pauses[0] >= 7
    script.answers = [limited]
    with pytest.raises(RateLimitedError):
        script.transport(patience=5).call("GET", "/v1/x", headers={})


def test_call__first_one_still_running__asks_again(script: Script) -> None:
    script.answers = [(409, {"Retry-After": "1"}, {"code": "idempotency_in_progress"}), FINE]
    assert script.transport().call("POST", "/v1/x", headers={}).status == 200


def test_call__nobody_there__gives_up_after_its_patience(script: Script) -> None:
    script.answers = [None]
    with pytest.raises(UnreachableError):
        script.transport(patience=0.0).call("GET", "/v1/x", headers={})


def test_call__answer_that_is_no_problem_document__is_an_error_all_the_same(
    script: Script,
) -> None:
    script.answers = [(404, {"Content-Type": "text/html"}, b"<h1>Not here</h1>")]
    with pytest.raises(EvenkeelError) as refused:
        script.transport().call("GET", "/", headers={})
    assert (refused.value.code, refused.value.detail) == ("unknown", "<h1>Not here</h1>")


def test_player__expired_token__refreshed_once_and_the_call_repeated(script: Script) -> None:
    def session(number: int) -> dict[str, object]:
        return {
            "access": f"a{number}",
            "refresh": f"r{number}",
            "expires_in": 900,
            "session": "s",
            "player": {"id": "p"},
            "created": False,
        }

    script.answers = [
        (201, {}, session(1)),
        (401, {}, {"code": "not_authenticated"}),
        (200, {}, session(2)),
        FINE,
    ]
    client = PlayerClient(script.transport(), "pk_x", Guest.new())
    assert client.get("/v1/x") == {"fine": True}
    tokens = [headers.get("Authorization") for _, _, headers, _ in script.seen]
    assert tokens == [None, "Bearer a1", None, "Bearer a2"]
    assert b'"r1"' in script.seen[2][3]


def test_player__refresh_refused__signs_in_again(script: Script) -> None:
    fresh = {"access": "a", "refresh": "r", "expires_in": 1, "player": {"id": "p"}}
    script.answers = [
        (201, {}, fresh),
        (401, {}, {"code": "refresh_reused"}),
        (201, {}, {**fresh, "expires_in": 900}),
        FINE,
    ]
    client = PlayerClient(script.transport(), "pk_x", Guest.new())
    client.sign_in()
    assert client.get("/v1/x") == {"fine": True}
    assert [path for _, path, _, _ in script.seen] == [
        "/v1/sessions",
        "/v1/sessions/refresh",
        "/v1/sessions",
        "/v1/x",
    ]
