"""A keeper holds one embedded server for as long as anybody uses it.

Users hold a shared lock on `users.lock`; the kernel takes it back however a user ends. The keeper
asks for the exclusive lock again and again: when it gets it, nobody is left, and it stops the
server. So nothing has to be told to anyone when a supervisor, a test run or a shell is killed.
The keeper itself holds `keeper.lock`, which tells whether there is one; if it is killed, the
kernel stops its server (see `processes`), or the next keeper does.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

from config.quickstart.layout import log_file, read_json, tail, write_json
from config.quickstart.processes import QuickstartError, started_at, wait_until

START_ATTEMPTS = 3
LONGEST_PAUSE = 30.0
# How long a server has to run for its next failure to count as the first.
CALM_SECONDS = 60.0


class Server(Protocol):
    """What a keeper needs of a server."""

    name: str
    directory: Path
    log: Path
    port: int
    process: subprocess.Popen[bytes] | None
    start_seconds: float

    @property
    def url(self) -> str: ...
    def recover(self) -> None: ...
    def prepare(self) -> None: ...
    def start(self, port: int | None) -> None: ...
    def ready(self) -> bool: ...
    def repair(self) -> str | None: ...
    def stop(self) -> None: ...


def make_server(kind: str, base: Path, *, durable: bool) -> Server:
    """The server `kind` ("postgres" or "valkey") of the instance under `base`."""
    # Each keeper loads its own driver alone, and stays small.
    if kind == "postgres":
        from config.quickstart.postgres import Postgres

        return Postgres(base / kind, durable=durable)
    from config.quickstart.valkey import Valkey

    return Valkey(base / kind, durable=durable)


def try_lock(descriptor: int, mode: int) -> bool:
    """Whether the lock (`fcntl.LOCK_SH` or `LOCK_EX`) was to be had at once."""
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path, mode: int) -> Iterator[bool]:
    """Hold a lock on `path` (`fcntl.LOCK_*`); False when LOCK_NB was given and it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if mode & fcntl.LOCK_NB:
            yield try_lock(descriptor, mode)
        else:
            fcntl.flock(descriptor, mode)
            yield True
    finally:
        os.close(descriptor)


def keeper_lives(directory: Path) -> bool:
    with locked(directory / "keeper.lock", fcntl.LOCK_SH | fcntl.LOCK_NB) as free:
        return not free


class Lease:
    """The use of one server. Held until `give_up`, or until this process ends in any way."""

    def __init__(self, server: Server, *, durable: bool) -> None:
        self.server = server
        self.durable = durable
        self.keeper: subprocess.Popen[bytes] | None = None
        self.users: int | None = None
        self.read = 0

    @property
    def state(self) -> Path:
        return self.server.directory / "state.json"

    def acquire(self) -> str:
        """The server's address, after starting a keeper if there is none.

        Raises QuickstartError with the end of the log when the server does not come up.
        """
        directory = self.server.directory
        directory.mkdir(parents=True, exist_ok=True)
        self.users = os.open(directory / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        # Waits for a keeper that is just stopping: it holds this lock exclusively until it ends.
        fcntl.flock(self.users, fcntl.LOCK_SH)
        with locked(directory / "start.lock", fcntl.LOCK_EX):
            if not keeper_lives(directory):
                self.state.unlink(missing_ok=True)
                self.start_keeper()
            deadline = time.monotonic() + self.server.start_seconds + 30
            while True:
                state = read_json(self.state)
                if state.get("url") and started_at(int(state["keeper"])) == state["started"]:
                    return str(state["url"])
                if self.keeper is not None and self.keeper.poll() is not None:
                    raise QuickstartError(self.failure(self.keeper.returncode))
                if time.monotonic() > deadline:
                    raise QuickstartError(self.failure(None))
                time.sleep(0.05)

    def start_keeper(self) -> None:
        command = [
            *(sys.executable, "-m", "config.quickstart.keeper"),
            *(self.server.name, str(self.server.directory.parent)),
            "durable" if self.durable else "disposable",
        ]
        with log_file(self.keeper_log).open("wb") as output:
            self.keeper = subprocess.Popen(
                command,
                cwd=Path(__file__).resolve().parent.parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def keeper_log(self) -> Path:
        return self.server.log.with_name(f"{self.server.name}-keeper.log")

    def failure(self, code: int | None) -> str:
        how = "did not answer in time" if code is None else "did not start"
        said = tail(self.keeper_log, 8)
        return f"{self.server.name} {how}. {said}\nThe end of {self.server.log}:\n" + tail(
            self.server.log
        )

    def news(self) -> list[str]:
        """What our keeper has said since the last call: repairs, restarts."""
        if self.keeper is None or self.keeper_log.stat().st_size == self.read:
            return []
        with self.keeper_log.open(encoding="utf-8", errors="replace") as log:
            log.seek(self.read)
            said = log.read()
            self.read = log.tell()
        return said.splitlines()

    def give_up(self) -> bool:
        """End the use; whether it was the last, so that the server stops now."""
        if self.users is None:
            return True
        # Nobody else shares the lock, or the keeper itself has it already and is stopping.
        last = try_lock(self.users, fcntl.LOCK_EX) or not try_lock(self.users, fcntl.LOCK_SH)
        os.close(self.users)
        self.users = None
        return last

    def wait_until_stopped(self, seconds: float = 45.0) -> bool:
        return wait_until(self.keeper_ended, seconds)

    def keeper_ended(self) -> bool:
        # Ours to the very end of the process; of another's keeper only the lock can be seen.
        if self.keeper is not None:
            return self.keeper.poll() is not None
        return not keeper_lives(self.server.directory)


class Keeper:
    """Starts one server, restarts it when it dies, stops it when nobody uses it any more."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.told_to_stop = False
        self.failures = 0
        self.started = 0.0
        self.next_start: float | None = None

    def run(self) -> int:
        directory = self.server.directory
        signal.signal(signal.SIGTERM, self.stop_soon)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with locked(directory / "keeper.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
            if not alone:
                print("Another keeper holds this server.", flush=True)
                return 1
            try:
                self.server.recover()
                self.server.prepare()
                self.bring_up()
                return self.hold()
            except QuickstartError as error:
                print(error, flush=True)
                return 1
            finally:
                self.state.unlink(missing_ok=True)
                self.server.stop()

    @property
    def state(self) -> Path:
        return self.server.directory / "state.json"

    def stop_soon(self, _number: int, _frame: FrameType | None) -> None:
        self.told_to_stop = True

    def bring_up(self) -> None:
        """Start the server and say where it is; raises QuickstartError when it does not stay up."""
        remembered_port = self.server.directory / "port.json"
        port = self.server.port or read_json(remembered_port).get("port")
        for attempt in range(START_ATTEMPTS):
            self.server.start(port)
            if self.wait_for_answer():
                break
            if self.server.process is not None and self.server.process.poll() is None:
                raise QuickstartError(f"It runs, but gave no answer: {self.server.log}")
            # Another program took the port in between, or what a killed server left is still
            # ending: both are over in a moment.
            time.sleep(0.5)
            if attempt == 1 and (repaired := self.server.repair()):
                print(repaired, flush=True)
        else:
            raise QuickstartError(f"It ended at once, {START_ATTEMPTS} times.")
        self.started = time.monotonic()
        write_json(remembered_port, {"port": self.server.port})
        write_json(
            self.state,
            {"url": self.server.url, "keeper": os.getpid(), "started": started_at(os.getpid())},
        )

    def wait_for_answer(self) -> bool:
        process = self.server.process
        deadline = time.monotonic() + self.server.start_seconds
        while process is not None and process.poll() is None and time.monotonic() < deadline:
            if self.server.ready():
                return True
            time.sleep(0.05)
        return False

    def hold(self) -> int:
        """Watch over the server until nobody holds a lease."""
        while not self.told_to_stop:
            # Held until this process ends: whoever wants the server next waits for that.
            users = os.open(self.server.directory / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
            if try_lock(users, fcntl.LOCK_EX):
                return 0
            os.close(users)
            if self.server.process is not None and self.server.process.poll() is not None:
                self.restart(self.server.process.returncode)
            time.sleep(0.2)
        return 0

    def restart(self, code: int) -> None:
        """Start the server that has died, once the pause after its last failure is over."""
        now = time.monotonic()
        if now - self.started > CALM_SECONDS:
            self.failures = 0
        if self.next_start is None:
            self.next_start = now + min(LONGEST_PAUSE, 0.5 * 2**self.failures)
            print(f"{self.server.name} ended with {code}; starting it again", flush=True)
        if now < self.next_start:
            return
        self.next_start = None
        self.failures += 1
        try:
            self.bring_up()
        except QuickstartError as error:
            print(error, flush=True)


def main() -> int:
    kind, base, durability = sys.argv[1:]
    return Keeper(make_server(kind, Path(base), durable=durability == "durable")).run()


if __name__ == "__main__":
    sys.exit(main())
