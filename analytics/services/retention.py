"""What analytics forgets, and when. Partitions of events go with config.db.partitions."""

import secrets
from datetime import UTC, date, timedelta

import structlog
from django.conf import settings
from django.db import connection
from django.utils import timezone
from psycopg import sql

from analytics.models import DaySalt, EventId
from analytics.services.batches import OTHER_IDS
from config.db import partitions

log = structlog.get_logger(__name__)
# A late event is 7 days old at most, and time zones span more than a day.
SALT_DAYS = 8
SALTS_AHEAD = 3
BATCH = 10_000
# As far ahead as config.db.partitions makes them.
MONTHS_AHEAD = timedelta(days=62)


def renew_salts() -> int:
    """Make the salts of the days ahead and delete those of days that are final; how many deleted.

    Once its salt is deleted, nobody can tell whose a day's pseudonym was.
    """
    today = timezone.now().astimezone(UTC).date()
    DaySalt.objects.bulk_create(
        (
            DaySalt(day=today + timedelta(days=ahead), salt=secrets.token_bytes(32))
            for ahead in range(SALTS_AHEAD + 1)
        ),
        ignore_conflicts=True,
    )
    deleted, _ = DaySalt.objects.filter(day__lt=today - timedelta(days=SALT_DAYS)).delete()
    return deleted


def forget_event_ids() -> int:
    """Drop what knows event ids that were received too long ago to come again; how many
    partitions and rows."""
    before = timezone.now().astimezone(UTC).date() - timedelta(days=settings.EVENT_ID_KEEP_DAYS)
    table = next(t for t in partitions.registered() if t.table == EventId._meta.db_table)
    forgotten = 0
    today = timezone.now().astimezone(UTC).date()
    for first in sorted(partitions.partitions_of(table)):
        # Devices whose clocks are wrong send ids of months long past or far ahead: such a partition
        # stays as long as its youngest row has to.
        is_current = before < table.next_start(first) and first <= today + MONTHS_AHEAD
        if first != OTHER_IDS and not is_current and not _has_recent(table.name_of(first), before):
            name = table.name_of(first)
            partitions.drop(name)
            log.info("partition", what="dropped", partition=name)
            forgotten += 1
    return forgotten + _delete_other_ids(before)


def _has_recent(partition: str, before: date) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE received_on >= %s)").format(
                sql.Identifier(partition)
            ),
            [before],
        )
        return bool(cursor.fetchone()[0])


def _delete_other_ids(before: date) -> int:
    """Ids without a time inside are all in one partition, which is emptied by age."""
    total = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                """DELETE FROM analytics_eventid WHERE bucket = %s AND (game_id, id) IN (
                       SELECT game_id, id FROM analytics_eventid
                       WHERE bucket = %s AND received_on < %s LIMIT %s)""",
                [OTHER_IDS, OTHER_IDS, before, BATCH],
            )
            deleted = int(cursor.rowcount)
        total += deleted
        if deleted < BATCH:
            return total
