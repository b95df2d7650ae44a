"""The account PostgreSQL runs under when the quick start was called by root.

PostgreSQL refuses to run as root. It then runs as the owner of its data, at first `nobody`: an
account that every system has, so that none has to be made. Such an account may be unable to reach
a clone that lies under a private directory (/root, a mktemp directory). Rather than opening that
directory to everybody, the process keeps one capability, to pass directories, and runs a copy of
the programs: PostgreSQL asks access(2) about its own, which ignores capabilities.
"""

import ctypes
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION = 0x20080522


@dataclass(frozen=True)
class Account:
    """Who a process becomes; `passes_directories` keeps CAP_DAC_OVERRIDE (Linux)."""

    name: str
    uid: int
    gid: int
    passes_directories: bool = False

    def become(self, libc: ctypes.CDLL | None) -> None:
        """Change this process (a child before its exec) for good. `libc` is None outside Linux."""
        if self.passes_directories and libc is not None:
            libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)
        if self.passes_directories and libc is not None:
            keep_capability(libc, CAP_DAC_OVERRIDE)


def keep_capability(libc: ctypes.CDLL, capability: int) -> None:
    """Keep one capability, over an exec too, and drop all others (capabilities(7), "ambient")."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_CAP_AMBIENT_RAISE)")


def may_pass(path: Path, uid: int, gid: int) -> bool:
    """Whether that user may pass every directory above `path`, and read and pass `path` itself."""
    resolved = path.resolve()
    for step in (resolved, *resolved.parents):
        info = step.stat()
        needed = 0o5 if step == resolved else 0o1
        if info.st_uid == uid:
            granted = info.st_mode >> 6
        elif info.st_gid == gid:
            granted = info.st_mode >> 3
        else:
            granted = info.st_mode
        if granted & needed != needed:
            return False
    return True


def lend(source: Path, names: Iterable[Path]) -> Path:
    """A copy of the files and directories `names` of `source` that every account can use.

    It lies in a new directory of its own under the system's temporary directory; the caller
    removes it.
    """
    target = Path(tempfile.mkdtemp(prefix="evenkeel-programs-"))
    for name in names:
        origin, copy = source / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, copy, symlinks=True)
        else:
            shutil.copy2(origin, copy)
    for entry in (target, *target.rglob("*")):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() or os.access(entry, os.X_OK) else 0o644)
    return target


def account_for(data: Path) -> Account | None:
    """The account for a server with its data in `data`; None when we are not root.

    The parent of `data` has to exist.
    """
    if os.geteuid() != 0:
        return None
    owner = data.stat().st_uid if data.exists() else 0
    entry = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    return Account(
        entry.pw_name,
        entry.pw_uid,
        entry.pw_gid,
        passes_directories=sys.platform == "linux"
        and not may_pass(data.parent, entry.pw_uid, entry.pw_gid),
    )


def give(path: Path, account: Account | None) -> None:
    """Make `path` and all in it that account's own; nothing when we are not root."""
    if account is None:
        return
    for entry in (path, *path.rglob("*")):
        info = entry.lstat()
        if info.st_uid != account.uid and not stat.S_ISLNK(info.st_mode):
            os.chown(entry, account.uid, account.gid)
