"""The arithmetic of stats, on any input."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.api.parsing import INT64_MAX, INT64_MIN
from progress import rules
from progress.errors import StatOutOfBounds, StatRateExceeded, StatStepTooLarge
from progress.rules import Aggregation, StatRule

int64 = st.integers(INT64_MIN, INT64_MAX)
aggregations = st.sampled_from(["sum", "max", "min", "last"])


def rule(aggregation: Aggregation = "sum", **fields: int | None) -> StatRule:
    bounds = {"minimum": INT64_MIN, "maximum": INT64_MAX} | fields
    return StatRule(id=uuid4(), key="petals", aggregation=aggregation, **bounds)  # type: ignore[arg-type]  # built by name


@given(aggregations, st.lists(int64, min_size=1, max_size=20))
def test_next_value__any_reports__equals_python_over_all_of_them(
    aggregation: Aggregation, reports: list[int]
) -> None:
    expected = {
        "sum": sum(reports),
        "max": max(reports),
        "min": min(reports),
        "last": reports[-1],
    }[aggregation]
    value: int | None = None
    for report in reports:
        try:
            value = rules.next_value(rule(aggregation), value, report, trusted=False)
        except StatOutOfBounds:
            assert aggregation == "sum"
            assert not INT64_MIN <= (value or 0) + report <= INT64_MAX
            return
    assert value == expected


@given(aggregations, st.none() | int64, int64, int64, int64)
def test_next_value__bounds__never_leaves_them(
    aggregation: Aggregation, current: int | None, report: int, low: int, high: int
) -> None:
    low, high = min(low, high), max(low, high)
    bounded = rule(aggregation, minimum=low, maximum=high)
    try:
        new = rules.next_value(bounded, current, report, trusted=True)
    except StatOutOfBounds:
        assert not low <= rules.combine(aggregation, current, report) <= high
    else:
        assert low <= new <= high


@given(aggregations, st.none() | int64, int64, st.integers(1, INT64_MAX))
def test_next_value__max_step__is_kept_by_players_and_not_by_the_server(
    aggregation: Aggregation, current: int | None, report: int, step: int
) -> None:
    stepped = rule(aggregation, max_step=step)
    try:
        trusted = rules.next_value(stepped, current, report, trusted=True)
    except StatOutOfBounds:
        return
    try:
        new = rules.next_value(stepped, current, report, trusted=False)
    except StatStepTooLarge:
        assert rules.step_of(stepped, current, trusted) > step
    else:
        assert new == trusted
        assert rules.step_of(stepped, current, new) <= step


def test_step_of__first_report_of_a_record__is_no_step() -> None:
    assert rules.next_value(rule("min", max_step=10), None, 90_000, trusted=False) == 90_000
    with pytest.raises(StatStepTooLarge):
        rules.next_value(rule("sum", max_step=10), None, 11, trusted=False)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=60),
    st.integers(1, 100),
    st.integers(1, 100),
)
def test_spend__any_reports__never_more_than_the_amount_and_its_refill(
    reports: list[tuple[float, int]], amount: int, seconds: int
) -> None:
    limited = rule(rate_amount=amount, rate_seconds=seconds)
    level, total, elapsed = 0.0, 0, 0.0
    waits: list[int] = []
    for pause, step in reports:
        elapsed += pause
        level = rules.spend(limited, level, pause, 0)
        try:
            level = rules.spend(limited, level, 0, step)
        except StatRateExceeded as problem:
            waits.append(int(problem.headers["Retry-After"]))
        else:
            total += step
    assert all(1 <= wait <= seconds + 1 for wait in waits)
    assert total <= amount + elapsed * amount / seconds + 1e-6 * (1 + total)


def test_spend__a_step_that_changes_nothing__passes_a_full_bucket() -> None:
    assert rules.spend(rule(rate_amount=5, rate_seconds=60), 5.0, 0, 0) == 5.0


def test_spend__clock_that_went_back__gives_nothing_and_takes_nothing() -> None:
    assert rules.spend(rule(rate_amount=5, rate_seconds=60), 2.0, -30, 1) == 3.0


@pytest.mark.parametrize(
    ("aggregation", "value", "reached"),
    [
        ("sum", 9, False),
        ("sum", 10, True),
        ("max", 11, True),
        ("min", 11, False),
        ("min", 10, True),
    ],
)
def test_is_reached__threshold_of_ten(aggregation: Aggregation, value: int, reached: bool) -> None:
    assert rules.is_reached(aggregation, value, 10) is reached
