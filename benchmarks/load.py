"""One run of wrk against one server, with the CPU time that it cost."""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import meter

LUA = Path(__file__).parent / "lua"


@dataclass(frozen=True)
class Run:
    """What one run showed. CPU in microseconds a request; `others` in cores."""

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]
    cpu_us: dict[str, float] = field(default_factory=dict)
    others: float = 0.0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def error_count(self) -> int:
        return sum(self.errors.values())


def run(
    script: str,
    url: str,
    *,
    seconds: float,
    connections: int,
    environment: dict[str, str],
    roots: dict[str, int],
) -> Run:
    """Load `url` with `lua/SCRIPT.lua` for some seconds. `roots` are the processes to meter."""
    command = [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{max(1, round(seconds))}s", "--timeout", "10s"),
        *("--script", str(LUA / f"{script}.lua"), url),
    ]
    before = meter.read(roots)
    own_before = _children_seconds()
    done = subprocess.run(
        command,
        env=os.environ | environment | {"BENCH_LUA": str(LUA)},
        capture_output=True,
        text=True,
        check=False,
    )
    used = meter.read(roots).since(before)
    wrk = _children_seconds() - own_before
    lines = [line for line in done.stderr.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
    found = json.loads(lines[0].removeprefix("RESULT "))
    elapsed = found["seconds"]
    others = max(0.0, used.machine - sum(used.groups.values()) - wrk) / elapsed
    requests = max(1, found["requests"])
    return Run(
        **found,
        cpu_us={name: 1e6 * cpu / requests for name, cpu in used.groups.items()}
        | {"wrk": 1e6 * wrk / requests},
        others=others,
    )


def _children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system
