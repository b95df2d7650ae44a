"""What analytics forgets, and what it must still know."""

from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from django.conf import settings

from accounts.models import Game
from analytics import tasks
from analytics.models import DaySalt, EventId
from analytics.services import retention
from config.db import partitions
from config.db.ids import uuid7
from tests.factories.analytics import client_of, consenting, event

pytestmark = pytest.mark.django_db


def table() -> partitions.Partitioned:
    return next(t for t in partitions.registered() if t.table == "analytics_eventid")


def add_id(game: Game, *, bucket: date, received: date) -> None:
    EventId.objects.create(game_id=game.pk, id=uuid7(), bucket=bucket, received_on=received)


def test_salts__are_made_ahead_and_deleted_when_their_day_is_final(db: None) -> None:
    today = datetime.now(UTC).date()
    DaySalt.objects.create(day=today - timedelta(days=8), salt=b"k")
    DaySalt.objects.create(day=today - timedelta(days=9), salt=b"d")
    kept = DaySalt.objects.create(day=today, salt=b"stays")

    assert retention.renew_salts() == 1

    days = set(DaySalt.objects.values_list("day", flat=True))
    assert days == {today - timedelta(days=8)} | {today + timedelta(days=n) for n in range(4)}
    kept.refresh_from_db()
    assert bytes(kept.salt) == b"stays"


def test_event_ids__a_month_is_dropped_when_nothing_in_it_is_recent(game: Game) -> None:
    today = datetime.now(UTC).date()
    long_ago = today - timedelta(days=settings.EVENT_ID_KEEP_DAYS + 1)
    add_id(game, bucket=date(2025, 3, 1), received=long_ago)
    # A device whose clock is a year behind, heard of yesterday.
    add_id(game, bucket=date(2025, 4, 1), received=today - timedelta(days=1))
    add_id(game, bucket=date(2031, 5, 1), received=long_ago)
    partitions.maintain()
    assert {date(2025, 3, 1), date(2025, 4, 1)} <= partitions.partitions_of(table())

    retention.forget_event_ids()

    left = partitions.partitions_of(table())
    assert not {date(2025, 3, 1), date(2031, 5, 1)} & left
    assert {today.replace(day=1), date(9000, 1, 1)} <= left
    assert date(2025, 4, 1) in left
    assert EventId.objects.get().bucket == date(2025, 4, 1)


def test_event_ids__without_a_time_inside__go_by_age(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    today = datetime.now(UTC).date()
    old = today - timedelta(days=settings.EVENT_ID_KEEP_DAYS + 1)
    for received in (old, old, old, today):
        add_id(game, bucket=date(9000, 1, 1), received=received)

    assert retention.forget_event_ids() >= 3

    assert EventId.objects.get().received_on == today


def test_event_ids__an_event_that_may_still_come_again__is_known(game: Game) -> None:
    player = client_of(consenting(game))
    one = event()
    player.post("/v1/events", {"events": [one]})
    partitions.maintain()

    with time_machine.travel(datetime.now(UTC) + timedelta(days=6), tick=True):
        tasks.forget()

    assert player.post("/v1/events", {"events": [one]}).json()["duplicates"] == 1
