"""Wire formats of analytics."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.conf import settings

from analytics.metrics import EVENTS
from analytics.selectors import Point
from analytics.services.batches import NewEvent, bucket_of
from config.api.parsing import convert
from config.api.problems import Problem, UnknownField, ValidationFailed
from config.api.wire import UNSET, Input, Output, UnsetType

MAX_EVENTS = 500
MAX_EVENT_BYTES = 8 * 1024
MAX_PROPS = 50
# Below this, `sent_at` differs from our clock by what the network takes.
CLOCK_TOLERANCE = timedelta(seconds=10)

EventName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$",
        max_length=64,
        description="What happened, such as level_complete",
    ),
]
PropName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class EventIn(Input, frozen=True):
    """One event. `id` is made on the device (UUIDv7), and makes sending it again safe."""

    id: UUID
    name: EventName
    at: Annotated[
        datetime, msgspec.Meta(tz=True, description="When it happened, by the device's clock")
    ]
    session: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    props: Annotated[
        dict[PropName, Any],
        msgspec.Meta(max_length=MAX_PROPS, description="Up to 50; the event may have 8 KB in all"),
    ] = {}


def _described(kind: type) -> dict[str, Any]:
    """The JSON schema of a Struct without Structs in it."""
    schema = msgspec.json.schema(kind)["$defs"][kind.__name__]
    return {key: value for key, value in schema.items() if key != "title"}


class BatchIn(Input, frozen=True):
    """Up to 500 events, each an `EventIn`; a bad one is rejected alone."""

    # Taken as they are, and each converted to an EventIn on its own.
    events: Annotated[
        list[Any],
        msgspec.Meta(max_length=MAX_EVENTS, extra_json_schema={"items": _described(EventIn)}),
    ]
    sent_at: (
        Annotated[
            datetime,
            msgspec.Meta(
                tz=True, description="The device's clock at sending; corrects clocks that are off"
            ),
        ]
        | UnsetType
    ) = UNSET
    player: (
        Annotated[UUID, msgspec.Meta(description="Whose events; for game servers only")] | UnsetType
    ) = UNSET


class RejectedEvent(Output):
    """An event that was not taken: its place in the batch, a stable code, and why."""

    index: int
    code: str
    detail: str


class BatchOut(Output):
    """What became of a batch. The accepted events are durable."""

    accepted: int
    duplicates: int
    rejected: list[RejectedEvent]


class Figure(Output):
    """One day's value. `provisional`: late events may still change it."""

    day: date
    value: int
    provisional: bool
    platform: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    app_version: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET


class MetricOut(Output):
    """A metric, day by day."""

    metric: str
    results: list[Figure]


class MetricQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Days are the game's, both ends included; at most 400 of them."""

    metric: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    from_: Annotated[date, msgspec.Meta(description="First day")] = msgspec.field(name="from")
    to: Annotated[date, msgspec.Meta(description="Last day")]
    by: Annotated[
        str,
        msgspec.Meta(
            max_length=20,
            description="day (unless told), platform, country, app_version; name for events, "
            "currency for currency_source and currency_sink",
        ),
    ] = "day"


class _RejectedError(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def read_events(
    raw: Sequence[Any], *, sent_at: datetime | None, now: datetime
) -> tuple[list[NewEvent], int, list[RejectedEvent]]:
    """The good events of a batch, how many more repeat one of them, and the bad ones.

    `sent_at` is the device's clock at sending: where it is off, the events' times are moved by
    as much.
    """
    shift = now - sent_at if sent_at is not None else timedelta()
    if abs(shift) < CLOCK_TOLERANCE:
        shift = timedelta()
    oldest = now - timedelta(seconds=settings.EVENT_MAX_AGE_SECONDS)
    newest = now + timedelta(seconds=settings.EVENT_MAX_AHEAD_SECONDS)
    good: dict[UUID, NewEvent] = {}
    repeated = 0
    rejected: list[RejectedEvent] = []
    for index, value in enumerate(raw):
        try:
            event = _read_event(value, shift, oldest, newest)
        except _RejectedError as error:
            EVENTS.labels("rejected").inc()
            rejected.append(RejectedEvent(index=index, code=error.code, detail=error.detail[:300]))
        else:
            if event.id in good:
                repeated += 1
            else:
                good[event.id] = event
    return list(good.values()), repeated, rejected


def _read_event(value: Any, shift: timedelta, oldest: datetime, newest: datetime) -> NewEvent:
    try:
        event = convert(value, EventIn)
    except (UnknownField, ValidationFailed) as error:
        raise _RejectedError(*_code_of(error)) from None
    try:
        at = event.at.astimezone(UTC) + shift
    except OverflowError:
        raise _RejectedError("too_old", "at: This is not a time that an event can have") from None
    if at < oldest:
        raise _RejectedError("too_old", f"at: Older than {settings.EVENT_MAX_AGE_SECONDS} seconds")
    if at > newest:
        raise _RejectedError(
            "too_far_ahead", f"at: More than {settings.EVENT_MAX_AHEAD_SECONDS} seconds ahead"
        )
    props = msgspec.json.encode(event.props)
    if len(props) > MAX_EVENT_BYTES - 300 and len(msgspec.json.encode(event)) > MAX_EVENT_BYTES:
        raise _RejectedError(
            "event_too_large", f"An event may have {MAX_EVENT_BYTES} bytes as JSON"
        )
    return NewEvent(
        id=event.id,
        bucket=bucket_of(event.id),
        name=event.name,
        at=at.isoformat(),
        session=event.session or "",
        props=msgspec.Raw(props),
    )


def _code_of(problem: Problem) -> tuple[str, str]:
    first = problem.errors[0]
    if first.pointer == "/props" and "`object` of length" in first.detail:
        return "too_many_props", f"props: An event may have {MAX_PROPS}"
    where = first.pointer.lstrip("/")
    return first.code, f"{where}: {first.detail}" if where else first.detail


def figures_of(series: Sequence[Point], *, by: str) -> list[Figure]:
    """The answer's rows; a split's label stands under the split's name, empty as "unknown"."""
    return [
        Figure(
            day=point.day,
            value=point.value,
            provisional=point.provisional,
            **({} if by == "day" else {by: point.label or "unknown"}),
        )
        for point in series
    ]
