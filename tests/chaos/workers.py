"""Real Celery workers to kill, and traps that hold them at one step of what they do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from django.conf import settings
from django.db import connection

from config.quickstart.layout import ROOT
from config.quickstart.processes import group_alive, signal_group, spawn, wait_until
from tests.fixtures.broker import queues

# The class of the advisory locks that traps wait for; each trap has a number in it.
LOCKS = 20_261_121


def addresses() -> dict[str, str]:
    """The environment of processes that shall see what this test sees."""
    at = connection.settings_dict
    user = at["USER"] + (f":{at['PASSWORD']}" if at["PASSWORD"] else "")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("COV_")},
        "DJANGO_ENV": "test",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"postgres://{user}@{at['HOST']}:{at['PORT']}/{at['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
        "REDIS_KEY_PREFIX": settings.REDIS_KEY_PREFIX,
    }


class Worker:
    """A Celery worker with its pool of processes, in a group of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def kill(self) -> None:
        """SIGKILL, for all of it at once: as when the machine loses power."""
        signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert wait_until(lambda: not group_alive(self.process.pid), 10)


@contextmanager
def worker(
    tmp_path: Path, environment: Mapping[str, str], *, processes: int, app: str = "worker"
) -> Iterator[Worker]:
    """A worker, which is dead afterwards."""
    celery = [sys.executable, "-m", "celery", "--app", f"tests.chaos.{app}"]
    process = spawn(
        [
            *(*celery, "worker", "--queues", ",".join(queues()), "--concurrency", str(processes)),
            *("--without-mingle", "--without-gossip", "--without-heartbeat"),
            # RabbitMQ lets only one of a name in, on this machine and in other tests beside this.
            *("--hostname", f"{uuid4().hex}@%h"),
        ],
        log=tmp_path / f"{app}.log",
        env={**addresses(), **environment},
        cwd=ROOT,
    )
    running = Worker(process)
    try:
        yield running
    finally:
        running.kill()


class Traps:
    """Statements in the database that wait where a test has laid a trap: before a row is written
    (`BEFORE`), or within the commit that follows (`COMMIT`)."""

    def __init__(self) -> None:
        self.count = 0
        at = connection.settings_dict
        self.keeper = psycopg.connect(
            host=at["HOST"],
            port=at["PORT"],
            user=at["USER"],
            password=at["PASSWORD"],
            dbname=at["NAME"],
            autocommit=True,
        )

    def lay(self, when: str, write: str, table: str, condition: str) -> int:
        """Hold whoever would `write` (INSERT, UPDATE) a row of which `condition` is true, in terms
        of OLD and NEW; the number of the trap."""
        self.count += 1
        number, name = self.count, f"trap_{self.count}"
        timing = f"BEFORE {write} ON {table}"
        kind = "TRIGGER"
        if when == "COMMIT":
            timing = f"AFTER {write} ON {table} DEFERRABLE INITIALLY DEFERRED"
            kind = "CONSTRAINT TRIGGER"
        self.keeper.execute("SELECT pg_advisory_lock(%s, %s)", [LOCKS, number])
        with connection.cursor() as cursor:
            cursor.execute(
                f"""CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
                    SET lock_timeout = 0 AS $$ BEGIN
                    PERFORM pg_advisory_xact_lock_shared({LOCKS}, {number}); RETURN NEW; END $$;
                    CREATE {kind} {name} {timing}
                    FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {name}()"""
            )
        return number

    def caught(self) -> set[int]:
        """The traps that somebody is in."""
        rows: Any = self.keeper.execute(
            """SELECT objid::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
               AND classid::bigint = %s""",
            [LOCKS],
        )
        return {number for (number,) in rows}

    def clear(self) -> None:
        """Whoever is in a trap loses its connection, as its process is dead; PostgreSQL itself
        would notice only when it writes to it. No trap holds anybody any more."""
        self.keeper.execute(
            """SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'
               AND NOT granted AND classid::bigint = %s""",
            [LOCKS],
        )
        self.keeper.execute("SELECT pg_advisory_unlock_all()")
        for number in range(1, self.count + 1):
            self.keeper.execute(f"DROP FUNCTION IF EXISTS trap_{number} CASCADE")
        self.count = 0


@contextmanager
def traps() -> Iterator[Traps]:
    """Traps, of which none is left afterwards."""
    made = Traps()
    try:
        yield made
    finally:
        made.clear()
        made.keeper.close()
