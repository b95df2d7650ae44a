"""Partitions: made ahead, emptied from the default one, dropped by retention."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from config.db import partitions
from config.db.partitions import Partitioned, maintain, partitions_of
from tests.threads import at_once

NOW = datetime(2026, 3, 30, 12, tzinfo=UTC)


@pytest.fixture
def daily(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Partitioned]:
    yield from _table(monkeypatch, settings, "day")


@pytest.fixture
def monthly(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Partitioned]:
    yield from _table(monkeypatch, settings, "month")


def _table(
    monkeypatch: pytest.MonkeyPatch, settings: Any, interval: partitions.Interval
) -> Iterator[Partitioned]:
    table = Partitioned("test_fact", "at", interval, ahead=2, keep_setting="TEST_KEEP_DAYS")
    monkeypatch.setattr(partitions, "_tables", {table.table: table})
    settings.TEST_KEEP_DAYS = 0
    with connection.cursor() as cursor:
        cursor.execute(
            """CREATE TABLE test_fact (id int, at timestamptz NOT NULL, PRIMARY KEY (at, id))
               PARTITION BY RANGE (at);
               CREATE TABLE test_fact_default PARTITION OF test_fact DEFAULT;"""
        )
    yield table
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE test_fact")


def insert(number: int, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO test_fact VALUES (%s, %s)", [number, at])


def count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


@pytest.mark.django_db
def test_maintain__empty_table__makes_today_and_days_ahead(daily: Partitioned) -> None:
    changes = maintain(now=NOW)
    assert partitions_of(daily) == {date(2026, 3, 30), date(2026, 3, 31), date(2026, 4, 1)}
    assert [c.what for c in changes] == ["made"] * 3
    assert maintain(now=NOW) == []


@pytest.mark.django_db
def test_maintain__month_end__makes_next_months(monthly: Partitioned) -> None:
    maintain(now=NOW)
    assert partitions_of(monthly) == {date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)}


@pytest.mark.django_db
def test_maintain__rows_in_default_partition__moved_to_their_own(daily: Partitioned) -> None:
    insert(1, NOW)
    insert(2, NOW - timedelta(days=90))
    insert(3, NOW - timedelta(days=90))
    changes = maintain(now=NOW)
    assert count("test_fact_default") == 0
    assert count("test_fact_p20251230") == 2
    assert count("test_fact") == 3
    assert {(c.partition, c.rows) for c in changes if c.what == "moved"} == {
        ("test_fact_p20260330", 1),
        ("test_fact_p20251230", 2),
    }


@pytest.mark.django_db
def test_maintain__retention__drops_only_whole_partitions_past_it(
    daily: Partitioned, settings: Any
) -> None:
    insert(1, NOW - timedelta(days=8))
    insert(2, NOW - timedelta(days=7))
    maintain(now=NOW)
    settings.TEST_KEEP_DAYS = 7
    changes = maintain(now=NOW)
    assert [(c.what, c.partition) for c in changes] == [("dropped", "test_fact_p20260322")]
    assert count("test_fact") == 1


@pytest.mark.django_db(transaction=True)
def test_maintain__eight_runs_at_once__each_partition_made_once(daily: Partitioned) -> None:
    insert(1, NOW)
    results = at_once(8, lambda _: maintain(now=NOW))
    assert not [r for r in results if isinstance(r, Exception)]
    made = [c.partition for r in results if isinstance(r, list) for c in r if c.what == "made"]
    assert sorted(made) == sorted(set(made))
    assert count("test_fact") == 1
