"""How the kernel switches between the threads of a web process."""

import os
from pathlib import Path


def let_threads_finish() -> bool:
    """Run all threads that this process has and will have as a batch; False where that can't be.

    A thread that lets go of the interpreter's lock wakes the next one, which by default takes the
    core at once, finds the lock taken again, and goes back to sleep: 41 calls of futex(2) for a
    sign-in of 16 threads. Under SCHED_BATCH (Linux, sched(7)) who is awake waits until the running
    thread does. docs/adr/0079 has what that gave.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return False
    try:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        # Not allowed here, or no /proc: it works as well, a little slower.
        return False
    return True
