"""Keeps a few processes running: restarts what dies, stops all of them together."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.quickstart.layout import LOGS, ROOT, RUN, keep_short
from config.quickstart.processes import (
    group_alive,
    remember,
    remembered,
    signal_group,
    spawn,
    stop_group,
    wait_until,
)

LONGEST_PAUSE = 30.0
CALM_SECONDS = 60.0


@dataclass
class Child:
    """One process: how it is started, and what has become of it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    # What the kernel sends it when the supervisor is killed.
    parent_death: signal.Signals = signal.SIGTERM
    logs: Path = LOGS
    run: Path = RUN
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started: float = 0.0
    next_start: float | None = None

    @property
    def log(self) -> Path:
        return self.logs / f"{self.name}.log"

    @property
    def record(self) -> Path:
        return self.run / f"{self.name}.json"

    def start(self) -> None:
        self.process = spawn(
            self.command,
            log=self.log,
            env=self.environment,
            cwd=ROOT,
            parent_death=self.parent_death,
        )
        self.started = time.monotonic()
        self.next_start = None
        remember(self.record, self.process.pid)


@dataclass
class Supervisor:
    """Starts `children`, and says with `say` what happens to them."""

    children: list[Child]
    say: Callable[[str], None] = print
    stop_seconds: float = 15.0
    hurry: bool = field(default=False, init=False)

    def stop_orphans(self) -> None:
        """Stop what an earlier supervisor left behind when it was killed."""
        for child in self.children:
            pid = remembered(child.record)
            if pid is not None:
                self.say(f"Stopping {child.name}, left running by an earlier start (pid {pid}) …")
                stop_group(pid, seconds=self.stop_seconds)
            child.record.unlink(missing_ok=True)

    def start(self) -> None:
        for child in self.children:
            child.start()

    def watch(self) -> None:
        """Restart what has died, after a pause that grows with each failure; call it often."""
        for child in self.children:
            keep_short(child.log)
            if child.process is None or child.process.poll() is None:
                continue
            now = time.monotonic()
            if child.next_start is None:
                # What it started itself (pool processes) must not live on beside the new one.
                signal_group(child.process.pid, signal.SIGKILL)
                if now - child.started > CALM_SECONDS:
                    child.failures = 0
                pause = min(LONGEST_PAUSE, 2.0**child.failures)
                child.failures += 1
                child.next_start = now + pause
                self.say(
                    f"{child.name} {ending(child.process.returncode)}; starting it again in "
                    f"{pause:.0f} s ({shown(child.log)} says more)"
                )
            elif now >= child.next_start:
                child.start()

    def stop(self) -> None:
        """Ask all to stop, at once; kill what is left after `stop_seconds`, or when in a hurry."""
        pids = [child.process.pid for child in self.children if child.process is not None]
        for pid in pids:
            signal_group(pid, signal.SIGTERM)

        def stopped() -> bool:
            for child in self.children:
                if child.process is not None:
                    child.process.poll()
            return self.hurry or not any(group_alive(pid) for pid in pids)

        wait_until(stopped, self.stop_seconds)
        for child in self.children:
            if child.process is not None:
                if group_alive(child.process.pid):
                    self.say(f"{child.name} did not stop; killing it")
                    signal_group(child.process.pid, signal.SIGKILL)
                child.process.wait()
            child.record.unlink(missing_ok=True)


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with status {code}"
    return f"was killed by {signal.Signals(-code).name}"


def shown(path: Path) -> str:
    """A path as short as it can be written from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
