"""A core of its own for each web process.

Where the kernel moves processes about, requests find their data in another core's cache, and
threads that hand the interpreter's lock over wake on a core that was asleep. With `WEB_PIN_CORES`
each web process stays on one of the cores that it may use, and its siblings on the others
(docs/adr/0079 has what that gave).
"""

import os
import socket
from pathlib import Path

_place: socket.socket | None = None


def pin() -> int | None:
    """Keep this process, all threads that it has and will have, on a core that no sibling took.

    Returns the core. None where this system can't, or there are more processes than cores: then
    nothing is changed. A core is taken by a name among Linux's abstract sockets, which is free
    again when the process ends, however it ends.
    """
    global _place
    if not hasattr(os, "sched_setaffinity"):
        return None
    for core in sorted(os.sched_getaffinity(0)):
        place = socket.socket(socket.AF_UNIX)
        try:
            place.bind(f"\0evenkeel/{os.getuid()}/{os.getppid()}/core/{core}")
        except OSError:
            place.close()
            continue
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
        _place = place
        return core
    return None
