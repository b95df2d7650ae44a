"""The metrics: what each counts, and by what it can be split. docs/analytics.md explains them."""

from dataclasses import dataclass
from typing import Literal

WHO_SPLITS = ("platform", "country", "app_version")


@dataclass(frozen=True)
class Metric:
    """A daily figure.

    source   "active": players of `ActivePlayer`; "events": rows of `Event`
    event    which server event counts; None: every event
    sums     add up this property instead of counting
    splits   what `by` takes besides "day"
    """

    key: str
    title: str
    source: Literal["active", "events"]
    splits: tuple[str, ...] = WHO_SPLITS
    event: str | None = None
    sums: str | None = None


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("dau", "Active players", "active"),
        Metric("new_players", "New players", "events", event="player_created"),
        Metric("sessions", "Sessions", "events", event="session_start"),
        Metric("events", "Events", "events", splits=(*WHO_SPLITS, "name")),
        Metric("purchases", "Purchases", "events", event="purchase"),
        Metric(
            "currency_source",
            "Currency given",
            "events",
            splits=(*WHO_SPLITS, "currency"),
            event="currency_source",
            sums="amount",
        ),
        Metric(
            "currency_sink",
            "Currency spent",
            "events",
            splits=(*WHO_SPLITS, "currency"),
            event="currency_sink",
            sums="amount",
        ),
    )
}
