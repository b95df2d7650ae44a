"""Results as a table for people and JSON for programs."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import Run
from benchmarks.scenarios import Scenario

RESULTS = Path(__file__).parent / "results"
NOISE = 0.15
HEADINGS = (
    *("server", "scenario", "a second", "of the floor", "p50 ms", "p99 ms", "web µs"),
    *("floor's web µs", "database µs", "Redis µs", "web MB", "errors", "others"),
)


@dataclass
class Result:
    """The runs of one scenario on one server, and the floor's beside them."""

    scenario: Scenario
    server: str
    runs: list[Run]
    floor: list[Run]
    memory_mb: float = 0.0

    def value(self, name: str) -> float:
        """The median over the runs, of a figure or of a group's CPU time."""
        return median(
            run.cpu_us[name] if name in run.cpu_us else float(getattr(run, name))
            for run in self.runs
        )

    @property
    def rate(self) -> float:
        return median(run.rate for run in self.runs) * self.scenario.factor

    @property
    def share_of_floor(self) -> float:
        return median(run.rate for run in self.runs) / median(run.rate for run in self.floor)

    @property
    def errors(self) -> int:
        return sum(run.error_count for run in [*self.runs, *self.floor])

    @property
    def others(self) -> float:
        return max(run.others for run in self.runs)


def conditions(versions: Mapping[str, str], chosen: Mapping[str, Any]) -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **versions,
        **chosen,
    }


def write(results: Sequence[Result], about: Mapping[str, Any], name: str) -> Path:
    """Write NAME.md and NAME.json; the table's path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(
        json.dumps(
            {
                "conditions": about,
                "results": [
                    {
                        "scenario": result.scenario.name,
                        "server": result.server,
                        "rate": round(result.rate, 1),
                        "share_of_floor": round(result.share_of_floor, 4),
                        "memory_mb": round(result.memory_mb, 1),
                        "runs": [asdict(run) for run in result.runs],
                        "floor": [asdict(run) for run in result.floor],
                    }
                    for result in results
                ],
            },
            indent=1,
        )
        + "\n"
    )
    path = RESULTS / f"{name}.md"
    path.write_text(table(results, about))
    return path


def table(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    lines = ["# Benchmark", "", "| condition | |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in about.items()]
    lines += [
        "",
        "Medians. `floor` is a bare WSGI callable under the same server, measured in turn with the",
        "scenario. CPU in microseconds a request; `others`: cores used by processes that have",
        f"nothing to do with the run, at worst (above {NOISE} it is noisy: compare the shares).",
        "",
        _line(HEADINGS),
        _line(["---"] * 2 + ["--:"] * (len(HEADINGS) - 2)),
    ]
    lines += [_row(result) for result in results]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    cells = [
        result.server,
        result.scenario.title,
        f"{result.rate:,.0f}",
        f"{result.share_of_floor:.1%}",
        f"{result.value('p50_ms'):.1f}",
        f"{result.value('p99_ms'):.1f}",
        f"{result.value('web'):.0f}",
        f"{median(run.cpu_us['web'] for run in result.floor):.0f}",
        f"{result.value('database'):.0f}",
        f"{result.value('redis'):.0f}",
        f"{result.memory_mb:.0f}",
        str(result.errors),
        f"{result.others:.2f}",
    ]
    return _line(cells)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
