"""CPU time and memory of groups of processes, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """The fields after the name; None for a process that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Used so far by a process, its descendants, and those of them that have ended."""
    ticks = 0
    for pid in family(root):
        if fields := _stat(pid):
            # utime, stime, and those of children that were waited for
            ticks += sum(int(fields[index]) for index in (11, 12, 13, 14))
    return ticks / TICKS


def machine_seconds() -> float:
    """What all processes of the machine used so far."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / TICKS


def memory_megabytes(root: int) -> float:
    """Proportional set size of a process and its descendants."""
    kilobytes = 0
    for pid in family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes / 1024


@dataclass(frozen=True)
class Reading:
    """CPU seconds used so far, by group."""

    groups: dict[str, float]
    machine: float

    def since(self, earlier: "Reading") -> "Reading":
        return Reading(
            {name: self.groups[name] - earlier.groups[name] for name in self.groups},
            self.machine - earlier.machine,
        )


def read(roots: dict[str, int]) -> Reading:
    return Reading({name: cpu_seconds(pid) for name, pid in roots.items()}, machine_seconds())
