"""Starting processes that cannot outlive us, stopping them, and finding what an earlier run left.

On Linux the kernel signals a child when its parent dies (PR_SET_PDEATHSIG), so that even a parent
killed with SIGKILL leaves nothing behind. Elsewhere the records written by `remember` do it: the
next start finds what still runs by process id and start time, and stops it.
"""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from config.quickstart.layout import log_file, read_json, write_json
from config.quickstart.unprivileged import Account

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1


class QuickstartError(Exception):
    """Something a person has to decide or repair; the message says what."""


def started_at(pid: int) -> str | None:
    """What tells this process from a later one with the same id; None when it does not run."""
    if LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        # The second field, the name in parentheses, may itself hold spaces and parentheses.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() or None


def remember(record: Path, pid: int) -> None:
    """Note a process that was started, so that a later run can tell whether it still runs."""
    write_json(record, {"pid": pid, "started": started_at(pid)})


def remembered(record: Path) -> int | None:
    """The process id noted in `record`, if that very process still runs."""
    noted = read_json(record)
    pid = noted.get("pid")
    if isinstance(pid, int) and noted.get("started") and started_at(pid) == noted["started"]:
        return pid
    return None


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    parent_death: signal.Signals | None = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output appended to `log`.

    `parent_death` is sent to it when the calling thread ends, so call this from the main thread;
    None lets it live on.
    """
    with log_file(log).open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=before_exec(account, parent_death),
        )


def before_exec(
    account: Account | None, parent_death: signal.Signals | None
) -> Callable[[], None] | None:
    """What a child does between fork and exec: become `account`, then tie itself to its parent."""
    if account is None and (parent_death is None or not LINUX):
        return None
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if LINUX else None

    def run() -> None:
        if account is not None:
            account.become(libc)
        # After the change of user, which would clear it.
        if parent_death is not None and libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, int(parent_death), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return run


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the process group that `pid` leads; nothing happens when it is gone."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        # macOS answers so for a group of zombies; elsewhere it is another user's process.
        if LINUX:
            raise


def group_alive(pid: int) -> bool:
    """Whether any process of the group that `pid` led still runs (zombies do not count)."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if not LINUX:
        shown = subprocess.run(
            ["ps", "-o", "stat=", "-g", str(pid)], capture_output=True, text=True, check=False
        )
        return any(not line.startswith("Z") for line in shown.stdout.split())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[2] == str(pid) and fields[0] not in "ZX":
            return True
    return False


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Whether `condition` came true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def stop_group(pid: int, *, ask: signal.Signals = signal.SIGTERM, seconds: float = 10) -> bool:
    """Ask the group that `pid` leads to stop; kill what is left after `seconds`.

    Returns whether it stopped by itself. Children of ours are reaped by their `Popen`.
    """
    signal_group(pid, ask)
    if wait_until(lambda: not group_alive(pid), seconds):
        return True
    signal_group(pid, signal.SIGKILL)
    wait_until(lambda: not group_alive(pid), 5)
    return False


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do: a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def free_port(preferred: int | None = None) -> int:
    """`preferred` if nobody listens there, else any free port of the loopback address."""
    if preferred and port_is_free(preferred):
        return preferred
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
