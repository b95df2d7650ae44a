"""The supervisor with real processes: restarts, stopping, and what a killed one left behind."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from config.quickstart import layout
from config.quickstart.processes import remembered, started_at, wait_until
from config.quickstart.supervisor import Child, Supervisor
from tests.quickstart.conftest import gone

pytestmark = [pytest.mark.services, pytest.mark.once]

# Starts a process of its own, as Celery's pool does, tells both ids, and waits for SIGTERM.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "a").write(f"{os.getpid()} {child.pid}\\n")
time.sleep(60)
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "a").write("up\\n")
time.sleep(60)
"""


@pytest.fixture
def said() -> list[str]:
    return []


def child(tmp_path: Path, name: str, script: str) -> Child:
    told = tmp_path / f"{name}.told"
    told.touch()
    command = [sys.executable, "-c", script, str(told)]
    return Child(name, command, dict(os.environ), logs=tmp_path / "logs", run=tmp_path / "run")


def told(tmp_path: Path, name: str, lines: int) -> list[str]:
    """What the child wrote, once it wrote that many lines."""
    path = tmp_path / f"{name}.told"
    assert wait_until(lambda: len(path.read_text().splitlines()) >= lines, 15)
    return path.read_text().splitlines()


def test_supervisor__child_killed__is_started_again_and_that_is_said(
    tmp_path: Path, said: list[str]
) -> None:
    supervisor = Supervisor([child(tmp_path, "web", PARENT)], said.append)
    supervisor.start()
    try:
        first, helper = map(int, told(tmp_path, "web", 1)[0].split())
        os.kill(first, signal.SIGKILL)

        def back() -> bool:
            supervisor.watch()
            return len((tmp_path / "web.told").read_text().splitlines()) == 2

        assert wait_until(back, 15)
        assert gone(helper)
        assert len(said) == 1
        assert re.match(
            r"web was killed by SIGKILL; starting it again in 1 s \(.*web\.log", said[0]
        )
    finally:
        supervisor.stop()


def test_supervisor__child_fails_again_and_again__pauses_grow(
    tmp_path: Path, said: list[str]
) -> None:
    failing = child(tmp_path, "beat", "raise SystemExit(3)")
    supervisor = Supervisor([failing], said.append)
    supervisor.start()

    def failed_twice() -> bool:
        supervisor.watch()
        return len(said) >= 2

    try:
        assert wait_until(failed_twice, 15)
    finally:
        supervisor.stop()
    assert [re.findall(r"status 3.* in (\d+) s", line) for line in said[:2]] == [["1"], ["2"]]


def test_supervisor__stopped__takes_the_children_of_its_children_along(tmp_path: Path) -> None:
    supervisor = Supervisor([child(tmp_path, "worker", PARENT)], lambda _: None)
    supervisor.start()
    pids = [int(pid) for pid in told(tmp_path, "worker", 1)[0].split()]
    supervisor.stop()
    assert [started_at(pid) for pid in pids] == [None, None]
    assert not list((tmp_path / "run").glob("*.json"))


def test_supervisor__child_ignores_the_signal__is_killed(tmp_path: Path, said: list[str]) -> None:
    stubborn = child(tmp_path, "web", STUBBORN)
    supervisor = Supervisor([stubborn], said.append, stop_seconds=0.5)
    supervisor.start()
    told(tmp_path, "web", 1)
    supervisor.stop()
    assert stubborn.process is not None
    assert stubborn.process.returncode == -signal.SIGKILL
    assert said == ["web did not stop; killing it"]


def test_supervisor__earlier_one_left_a_child__stops_it(tmp_path: Path, said: list[str]) -> None:
    left = child(tmp_path, "worker", PARENT)
    left.start()
    pids = [int(pid) for pid in told(tmp_path, "worker", 1)[0].split()]
    assert remembered(left.record) == pids[0]
    # The new supervisor knows only the record.
    Supervisor([child(tmp_path, "worker", PARENT)], said.append).stop_orphans()
    assert all(gone(pid) for pid in pids)
    assert left.process is not None
    left.process.wait()
    assert said == [f"Stopping worker, left running by an earlier start (pid {pids[0]}) …"]


def test_supervisor__record_of_a_process_that_is_gone__leaves_strangers_alone(
    tmp_path: Path, said: list[str]
) -> None:
    one = child(tmp_path, "worker", PARENT)
    one.run.mkdir()
    # The id is ours now, the start time is not.
    one.record.write_text(f'{{"pid": {os.getpid()}, "started": "another-boot:1"}}')
    Supervisor([one], said.append).stop_orphans()
    assert said == []
    assert not one.record.exists()


def test_supervisor__log_grows_large__is_moved_aside_and_written_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "LARGEST_LOG", 1000)
    talking = "import sys, time\nwhile True: print('x' * 99, flush=True); time.sleep(0.01)"
    one = child(tmp_path, "web", talking)
    supervisor = Supervisor([one], lambda _: None)
    supervisor.start()

    def moved() -> bool:
        supervisor.watch()
        return one.log.with_suffix(".old.log").exists()

    try:
        assert wait_until(moved, 15)
        assert wait_until(lambda: one.log.stat().st_size > 0, 15)
        assert one.log.read_text().startswith("x")
    finally:
        supervisor.stop()
