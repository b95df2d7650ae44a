"""The arithmetic of stats: pure, so that it can be tried on any input.

Values are signed 64-bit integers. A *step* is how far one report moves the value; a stat's
`rate` lets players' reports move it by `rate_amount` in `rate_seconds`, as a bucket that
drains evenly: short bursts pass, a steady excess does not.
"""

from typing import Literal
from uuid import UUID

import msgspec

from progress.errors import StatOutOfBounds, StatRateExceeded, StatStepTooLarge

Aggregation = Literal["sum", "max", "min", "last"]


class StatRule(msgspec.Struct, frozen=True, kw_only=True):
    """A stat's definition, as updates need it."""

    id: UUID
    key: str
    aggregation: Aggregation
    minimum: int
    maximum: int
    max_step: int | None = None
    rate_amount: int | None = None
    rate_seconds: int | None = None
    writer: Literal["player", "server"] = "player"


def combine(aggregation: Aggregation, current: int | None, given: int) -> int:
    """The value after a report of `given`; `current` is None before the first one."""
    if aggregation == "sum":
        return (current or 0) + given
    if current is None or aggregation == "last":
        return given
    return max(current, given) if aggregation == "max" else min(current, given)


def step_of(rule: StatRule, current: int | None, new: int) -> int:
    """How far the value moved. A sum begins at 0; the others' first report is no step."""
    if current is None and rule.aggregation != "sum":
        return 0
    return abs(new - (current or 0))


def next_value(rule: StatRule, current: int | None, given: int, *, trusted: bool) -> int:
    """The value after a report of `given`, within the definition's bounds.

    `trusted` (game servers, staff) may take steps of any size. Raises `StatOutOfBounds` or
    `StatStepTooLarge`.
    """
    new = combine(rule.aggregation, current, given)
    if not rule.minimum <= new <= rule.maximum:
        raise StatOutOfBounds(
            f"{rule.key} would become {new}; it may be {rule.minimum} to {rule.maximum}"
        )
    if not trusted and rule.max_step is not None and step_of(rule, current, new) > rule.max_step:
        raise StatStepTooLarge(f"{rule.key} may change by at most {rule.max_step} at once")
    return new


def spend(rule: StatRule, spent: float, seconds: float, step: int) -> float:
    """The rate's level after a further `step`, `seconds` after it was at `spent`.

    Raises `StatRateExceeded` with `Retry-After` when the bucket would overflow.
    """
    if rule.rate_amount is None or rule.rate_seconds is None:
        return 0.0
    per_second = rule.rate_amount / rule.rate_seconds
    level = max(0.0, spent - max(0.0, seconds) * per_second) + step
    if level > rule.rate_amount and step > 0:
        wait = min((level - rule.rate_amount) / per_second, float(rule.rate_seconds))
        raise StatRateExceeded(
            f"{rule.key} may change by {rule.rate_amount} in {rule.rate_seconds} seconds",
            headers={"Retry-After": str(max(1, int(wait) + 1))},
        )
    return level


def is_reached(aggregation: Aggregation, value: int, threshold: int) -> bool:
    """Whether an achievement's threshold is reached: at or above it; for `min`, at or below."""
    return value <= threshold if aggregation == "min" else value >= threshold
