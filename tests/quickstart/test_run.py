"""`make run` as a person meets it: started, killed, started again, stopped, and in the way."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from config.quickstart.processes import free_port, started_at, wait_until

pytestmark = [pytest.mark.services, pytest.mark.once]
Start = Callable[..., subprocess.Popen[str]]


def collect(process: subprocess.Popen[str]) -> list[str]:
    """The lines that a process says, filled in the background."""
    lines: list[str] = []

    def read() -> None:
        lines.extend(iter(process.stdout.readline, "")) if process.stdout else None

    threading.Thread(target=read, daemon=True).start()
    return lines


def came_up(process: subprocess.Popen[str], said: list[str]) -> bool:
    """Whether it says that it runs; false also when it ended instead."""
    wait_until(lambda: up(said) or process.poll() is not None, 90)
    return up(said)


def up(said: list[str]) -> bool:
    return any("Stop with Ctrl-C" in line for line in said)


def running(local: Path) -> list[int]:
    """The ids of all processes that a run under `local` has noted, and that still run."""
    noted = [*local.glob("run/*.json"), *local.glob("*/process.json"), *local.glob("*/state.json")]
    values = [json.loads(path.read_text()) for path in noted]
    pids = [value.get("pid") or value.get("keeper") for value in values]
    return [pid for pid in pids if pid and started_at(pid) is not None]


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_run__killed_and_started_again__recovers_and_shows_the_same_keys(
    start: Start, bare_environment: dict[str, str]
) -> None:
    local = Path(bare_environment["EVENKEEL_LOCAL"])
    port = free_port()
    first = start("run", PORT=str(port))
    said = collect(first)
    assert came_up(first, said), said
    assert ready(port)
    pids = running(local)
    assert len(pids) == 8  # supervisor, web, worker, beat, two servers and their keepers
    first.kill()
    first.wait()
    assert wait_until(lambda: not [pid for pid in pids if started_at(pid)], 30)

    second = start("run", PORT=str(port))
    said_again = collect(second)
    assert came_up(second, said_again), said_again
    kept = [line for line in said if re.search(r"(password|key) {2}", line)]
    assert len(kept) == 3
    assert kept == [line for line in said_again if re.search(r"(password|key) {2}", line)]
    pids = running(local)
    os.killpg(second.pid, signal.SIGINT)
    assert second.wait(60) == 0
    assert not [pid for pid in pids if started_at(pid)]
    assert (local / "keys.json").stat().st_mode & 0o777 == 0o600


def test_run__port_is_taken__names_it_and_starts_nothing(
    start: Start, bare_environment: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("run", PORT=str(port))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"Port {port} is taken" in output
    assert not running(Path(bare_environment["EVENKEEL_LOCAL"]))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "eighty", "PORT is 'eighty'"),
        ("PORT", "70000", "PORT is '70000'"),
        ("WEB_SERVER", "apache", "WEB_SERVER is 'apache'"),
    ],
)
def test_run__variable_is_wrong__says_which(
    start: Start, name: str, value: str, message: str
) -> None:
    process = start("run", **{name: value})
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in output


def test_run__runs_already__says_where(start: Start, bare_environment: dict[str, str]) -> None:
    run = Path(bare_environment["EVENKEEL_LOCAL"]) / "run"
    run.mkdir(parents=True)
    (run / "running.json").write_text('{"pid": 4711, "url": "http://127.0.0.1:8123"}')
    script = (
        "import fcntl, sys, time; lock = open(sys.argv[1], 'a'); "
        "fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(run / "supervisor.lock")],
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        process = start("run")
        output, _ = process.communicate(timeout=60)
        holder.kill()
    assert process.returncode == 1
    assert "already running from this folder: http://127.0.0.1:8123 (pid 4711)" in output
