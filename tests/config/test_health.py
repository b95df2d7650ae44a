"""`/healthz`, `/readyz`, `/metrics`."""

from typing import Any

import pytest

from config import health
from tests.fixtures.api import ApiClient, assert_problem
from tests.fixtures.faults import redis_down


@pytest.fixture(autouse=True)
def ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_last", None)


def test_healthz__touches_no_service(anonymous: ApiClient) -> None:
    with redis_down():
        answer = anonymous.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_readyz__all_well__ok(anonymous: ApiClient) -> None:
    answer = anonymous.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "parts": {"database": "ok", "migrations": "ok", "cache": "ok", "broker": "ok"},
    }


@pytest.mark.django_db
def test_readyz__redis_down__degraded_but_serving(anonymous: ApiClient) -> None:
    with redis_down():
        answer = anonymous.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["parts"]["cache"] == "down"


@pytest.mark.django_db
@pytest.mark.parametrize("part", ["database", "migrations"])
def test_readyz__something_needed_is_down__503(
    anonymous: ApiClient, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail() -> None:
        raise OSError("secret address of the database")

    monkeypatch.setitem(health.PARTS, part, (fail, True))
    answer = anonymous.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"][part] == "down"
    assert b"secret" not in answer.content


@pytest.mark.django_db
def test_readyz__asked_often__answers_from_the_last_look(
    anonymous: ApiClient, django_assert_num_queries: Any
) -> None:
    anonymous.get("/readyz")
    with django_assert_num_queries(0):
        assert anonymous.get("/readyz").status_code == 200


def test_metrics__right_token__served(anonymous: ApiClient, settings: Any) -> None:
    answer = anonymous.get("/metrics", authorization=f"Bearer {settings.METRICS_TOKEN}")
    assert answer.status_code == 200
    assert b"evenkeel_http_requests_total" in answer.content


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Bearer ", "Bearer é"])
def test_metrics__wrong_token__not_found(anonymous: ApiClient, header: str) -> None:
    assert_problem(anonymous.get("/metrics", authorization=header), 404, "not_found")


def test_metrics__no_token_configured__not_served(anonymous: ApiClient, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    assert_problem(anonymous.get("/metrics", authorization="Bearer "), 404, "not_found")


def test_metrics__several_processes__added_up(
    anonymous: ApiClient, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    answer = anonymous.get("/metrics", authorization=f"Bearer {settings.METRICS_TOKEN}")
    assert answer.status_code == 200
