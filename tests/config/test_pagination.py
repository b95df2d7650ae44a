"""Keyset pages: every row once, in both directions, also where many rows tie."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.api.pagination import PageQuery, decode_cursor, encode_cursor, keyset_page
from config.api.problems import InvalidCursor
from config.models import HookCall

START = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = [
    (("created_at", "id"), (datetime, UUID)),
    (("-created_at", "id"), (datetime, UUID)),
    (("hook", "-created_at", "id"), (str, datetime, UUID)),
    (("-attempts", "-id"), (int, UUID)),
]


def fill(rows: list[tuple[int, int, str]]) -> None:
    HookCall.objects.all().delete()
    for minutes, attempts, hook in rows:
        at = START + timedelta(minutes=minutes)
        row = HookCall.objects.create(
            hook=hook, listener="l", payload={}, attempts=attempts, next_attempt_at=at
        )
        HookCall.objects.filter(pk=row.pk).update(created_at=at)


def page(order: Any, kinds: Any, limit: int, cursor: str | None) -> Any:
    query = PageQuery(limit=limit, cursor=cursor)
    return keyset_page(HookCall.objects.all(), order=order, kinds=kinds, query=query)


@pytest.mark.django_db
@pytest.mark.parametrize(("order", "kinds"), ORDERS)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from("ab")), max_size=12
    ),
    limit=st.integers(1, 5),
)
def test_keyset_page__walk_there_and_back__sees_each_row_once(
    order: Any, kinds: Any, rows: list[tuple[int, int, str]], limit: int
) -> None:
    fill(rows)
    expected = list(HookCall.objects.order_by(*order).values_list("pk", flat=True))
    seen: list[UUID] = []
    pages = 0
    cursor = None
    back = None
    while True:
        found, cursor, back = page(order, kinds, limit, cursor)
        seen += [row.pk for row in found]
        pages += 1
        if cursor is None:
            break
        assert pages <= len(expected) + 1
    assert seen == expected
    returned: list[UUID] = []
    while back is not None:
        found, _, back = page(order, kinds, limit, back)
        returned = [row.pk for row in found] + returned
    assert returned == expected[: len(returned)]
    assert len(returned) >= len(expected) - limit


@pytest.mark.django_db
def test_keyset_page__row_inserted_behind_the_cursor__shifts_nothing() -> None:
    fill([(n, 0, "a") for n in range(1, 5)])
    order, kinds = ORDERS[0]
    first, cursor, _ = page(order, kinds, 2, None)
    fresh = HookCall.objects.create(hook="n", listener="l", payload={}, next_attempt_at=START)
    HookCall.objects.filter(pk=fresh.pk).update(created_at=START)
    second, _, _ = page(order, kinds, 2, cursor)
    assert not {row.pk for row in first} & {row.pk for row in second}
    assert len(second) == 2


def test_cursor__values__round_trip() -> None:
    values = [2**63 - 1, START, UUID(int=5), "é"]
    text = encode_cursor(values, backward=True)
    assert decode_cursor(text, (int, datetime, UUID, str)) == (True, values)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!!!",
        "x",
        b64(b"{}"),
        b64(b"[false,[1]]"),
        b64(b'[false,["a","b"]]'),
        b64(b'[false,[99999999999999999999999,"00000000-0000-0000-0000-000000000005"]]'),
        b64(b'[false,[1,"not a uuid"]]'),
        b64(b"[" * 500),
        "é",
    ],
)
def test_decode_cursor__not_ours__refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(text, (int, UUID))


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00", "soon", "\0"])
def test_decode_cursor__bad_time__refused(moment: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(encode_cursor([moment]), (datetime,))


def test_decode_cursor__nul_in_text__refused() -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(encode_cursor(["a\0"]), (str,))
