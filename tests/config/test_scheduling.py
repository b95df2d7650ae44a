"""Threads that let each other finish (docs/adr/0079)."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

pytestmark = pytest.mark.skipif(
    not hasattr(os, "SCHED_BATCH"), reason="only Linux schedules batches"
)
# In a process of its own, as its threads stay as they are then: one is there before, one is not.
CHILD = """
import os, threading
from config import scheduling
done = threading.Event()
def start():
    thread = threading.Thread(target=done.wait, daemon=True)
    thread.start()
    return thread
before = start()
{change}
print(scheduling.let_threads_finish())
threads = (threading.main_thread(), before, start())
print({{os.sched_getscheduler(thread.native_id) for thread in threads}})
"""


def said_by_child(change: str = "") -> list[str]:
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(change=change)],
        capture_output=True,
        text=True,
        check=True,
        cwd=settings.BASE_DIR,
        env=os.environ | {"PYTHONPATH": str(settings.BASE_DIR)},
    )
    return child.stdout.split("\n")[:2]


def test_let_threads_finish__all_of_a_process() -> None:
    assert said_by_child() == ["True", f"{{{os.SCHED_BATCH}}}"]


def test_let_threads_finish__not_allowed__changes_nothing() -> None:
    refuse = "def refuse(*_): raise PermissionError\nos.sched_setscheduler = refuse"
    assert said_by_child(refuse) == ["False", f"{{{os.SCHED_OTHER}}}"]


def test_let_threads_finish__unknown_here__changes_nothing() -> None:
    assert said_by_child("del os.SCHED_BATCH") == ["False", f"{{{os.SCHED_OTHER}}}"]
