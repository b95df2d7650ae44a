"""Web processes with a core of their own (docs/adr/0079)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

# Says which core it has, and lives until its input ends.
CHILD = """
import os, sys, threading
sys.path.insert(0, os.getcwd())
from config import cores
there = threading.Event()
threading.Thread(target=there.wait, daemon=True).start()
core = cores.pin()
threads = {tuple(os.sched_getaffinity(int(one))) for one in os.listdir("/proc/self/task")}
print(core, sorted(threads), flush=True)
sys.stdin.read()
"""
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
pytestmark = pytest.mark.skipif(not CORES, reason="only Linux keeps processes on a core")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stack.enter_context(child)
    stack.callback(child.kill)
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def test_pin__each_process_has_a_core_until_none_is_free(stack: ExitStack) -> None:
    said = [start(stack)[1] for _ in range(len(CORES) + 1)]

    assert said[:-1] == [f"{core} [({core},)]" for core in CORES], "all threads of each"
    assert said[-1] == f"None [{tuple(CORES)}]", "one too many goes where it wants"


def test_pin__process_killed__its_core_is_free_again(stack: ExitStack) -> None:
    first, said = start(stack)
    first.kill()
    first.wait()

    assert start(stack)[1] == said == f"{CORES[0]} [({CORES[0]},)]"
