"""Tables that grow with play, in native range partitions by time.

A table is declared once with `Partitioned` (in its app's apps.py); the migration makes the parent
with `CreatePartitioned`. `manage.py partitions`, and a job every six hours, make partitions
ahead and drop those past the retention setting. Each table also has a default partition, which
takes rows whose time has no partition (a stopped job, an old row that is imported); the next
run moves them to where they belong.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.operations import RunSQL, SeparateDatabaseAndState
from django.utils import timezone
from psycopg import sql

from config.db.transactions import advisory_lock

log = structlog.get_logger(__name__)
Interval = Literal["day", "month"]


@dataclass(frozen=True)
class Partitioned:
    """One partitioned table.

    column         the timestamptz column that it is partitioned by
    interval       one partition a "day" or a "month", in UTC
    ahead          how many future partitions there always are
    keep_setting   name of the setting with the days that rows are kept; None or 0: for ever
    after_make     SQL for each new partition, which it calls {child}: what PostgreSQL does not copy
                   from the parent, such as TRUNCATE triggers
    """

    table: str
    column: str
    interval: Interval
    ahead: int = 3
    keep_setting: str | None = None
    after_make: str = ""

    def start_of(self, moment: date) -> date:
        return moment.replace(day=1) if self.interval == "month" else moment

    def next_start(self, start: date) -> date:
        if self.interval == "day":
            return start + timedelta(days=1)
        return (start.replace(day=1) + timedelta(days=32)).replace(day=1)

    def name_of(self, start: date) -> str:
        return f"{self.table}_p{start:%Y%m%d}"


_tables: dict[str, Partitioned] = {}


def register(table: Partitioned) -> None:
    """Put a table under the care of the command and the job."""
    _tables[table.table] = table


def registered() -> list[Partitioned]:
    return sorted(_tables.values(), key=lambda table: table.table)


class CreatePartitioned(SeparateDatabaseAndState):
    """A migration operation: the model in Django's state, the parent table in PostgreSQL.

    `columns` is the body of CREATE TABLE; the primary key has to contain `column`.
    `after` are further statements (indexes, triggers) on the parent.
    """

    def __init__(self, create_model: Any, *, columns: str, column: str, after: str = "") -> None:
        table = create_model.options["db_table"]
        super().__init__(
            database_operations=[
                RunSQL(
                    f"CREATE TABLE {table} ({columns}) PARTITION BY RANGE ({column});"
                    f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT;{after}",
                    f"DROP TABLE {table};",
                )
            ],
            state_operations=[create_model],
        )
        self._arguments = (create_model, columns, column, after)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        create_model, columns, column, after = self._arguments
        return (
            type(self).__qualname__,
            [create_model],
            {"columns": columns, "column": column, "after": after},
        )


@dataclass(frozen=True)
class Change:
    """What a run did: "made" or "dropped" a partition, or "moved" rows out of the default one."""

    what: Literal["made", "dropped", "moved"]
    partition: str
    rows: int = 0


def maintain(
    *, now: datetime | None = None, report: Callable[[Change], None] | None = None
) -> list[Change]:
    """Make what is missing ahead, empty the default partitions, drop what is too old."""
    today = (now or timezone.now()).astimezone(UTC).date()
    changes: list[Change] = []
    for table in registered():
        for change in _maintain_table(table, today):
            log.info("partition", what=change.what, partition=change.partition, rows=change.rows)
            changes.append(change)
            if report:
                report(change)
    return changes


def _maintain_table(table: Partitioned, today: date) -> list[Change]:
    changes = []
    existing = partitions_of(table)
    start = table.start_of(today)
    wanted = [start]
    for _ in range(table.ahead):
        wanted.append(table.next_start(wanted[-1]))
    wanted += [day for day in _days_in_default(table) if day not in wanted]
    for first in wanted:
        if first not in existing:
            changes += _make(table, first)
    keep_days = getattr(settings, table.keep_setting, None) if table.keep_setting else None
    if keep_days:
        oldest = today - timedelta(days=keep_days)
        for first in sorted(existing):
            if table.next_start(first) <= oldest:
                name = table.name_of(first)
                drop(name)
                changes.append(Change("dropped", name))
    return changes


def partitions_of(table: Partitioned) -> set[date]:
    """The first days of the partitions that exist, without the default one."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT child.relname FROM pg_inherits
               JOIN pg_class child ON child.oid = inhrelid
               JOIN pg_class parent ON parent.oid = inhparent
               WHERE parent.relname = %s AND parent.relnamespace = current_schema::regnamespace""",
            [table.table],
        )
        names = [name for (name,) in cursor.fetchall()]
    prefix = f"{table.table}_p"
    return {
        date.fromisoformat(name.removeprefix(prefix)) for name in names if name.startswith(prefix)
    }


def _days_in_default(table: Partitioned) -> list[date]:
    unit = sql.Literal(table.interval)
    query = sql.SQL(
        "SELECT DISTINCT date_trunc({unit}, {column} AT TIME ZONE 'UTC')::date FROM {table}"
    ).format(
        unit=unit,
        column=sql.Identifier(table.column),
        table=sql.Identifier(f"{table.table}_default"),
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        return sorted(day for (day,) in cursor.fetchall())


def _make(table: Partitioned, first: date) -> list[Change]:
    """Make one partition, taking along the rows of its range that the default one holds."""
    last = table.next_start(first)
    name = table.name_of(first)
    parts = {
        "parent": sql.Identifier(table.table),
        "default": sql.Identifier(f"{table.table}_default"),
        "child": sql.Identifier(name),
        "column": sql.Identifier(table.column),
        "first": sql.Literal(f"{first.isoformat()} 00:00:00+00"),
        "last": sql.Literal(f"{last.isoformat()} 00:00:00+00"),
    }
    in_range = "{column} >= {first} AND {column} < {last}"
    with transaction.atomic(), connection.cursor() as cursor:
        # Two runs at once: the second waits, and finds the partition there.
        advisory_lock(name)
        cursor.execute("SELECT to_regclass(%s::text) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            return []
        cursor.execute(
            sql.SQL(
                f"SELECT count(*) FROM {{default}} WHERE {in_range}"  # noqa: S608 (composed below)
            ).format(**parts)
        )
        rows = cursor.fetchone()[0]
        if rows == 0:
            cursor.execute(
                sql.SQL(
                    "CREATE TABLE {child} PARTITION OF {parent} "
                    "FOR VALUES FROM ({first}) TO ({last})"
                ).format(**parts)
            )
            _finish(cursor, table, parts)
            return [Change("made", name)]
        cursor.execute(
            sql.SQL(
                "CREATE TABLE {child} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            ).format(**parts)
        )
        # Row triggers (append-only tables) are for everybody else; this only moves rows.
        cursor.execute(sql.SQL("ALTER TABLE {default} DISABLE TRIGGER USER").format(**parts))
        cursor.execute(
            sql.SQL(
                f"WITH moved AS (DELETE FROM {{default}} WHERE {in_range} RETURNING *) "  # noqa: S608
                "INSERT INTO {child} SELECT * FROM moved"
            ).format(**parts)
        )
        cursor.execute(sql.SQL("ALTER TABLE {default} ENABLE TRIGGER USER").format(**parts))
        cursor.execute(
            sql.SQL(
                "ALTER TABLE {parent} ATTACH PARTITION {child} "
                "FOR VALUES FROM ({first}) TO ({last})"
            ).format(**parts)
        )
        _finish(cursor, table, parts)
    return [Change("made", name), Change("moved", name, rows)]


def _finish(cursor: Any, table: Partitioned, parts: dict[str, Any]) -> None:
    if table.after_make:
        cursor.execute(sql.SQL(table.after_make).format(**parts))


def drop(name: str) -> None:
    """Drop a partition, if it is there. Raises `OperationalError` rather than wait for its lock
    longer than 5 seconds: whoever writes waits behind us."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', '5s', true)")
        cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))
