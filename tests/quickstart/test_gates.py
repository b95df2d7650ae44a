"""The gates themselves: what they let through, and what they don't."""

import json
import os
import sys
from pathlib import Path

import pytest

from config.quickstart import gates
from config.quickstart.answering import problem_at
from config.quickstart.coverage_gate import COMPLETE, problems_in
from config.quickstart.processes import free_port

pytestmark = pytest.mark.once


def report(
    tmp_path: Path, *, covered: int = 95, missing: tuple[int, ...] = (), leave_out: str = ""
) -> Path:
    """A coverage report with `covered` of 100 branches, and lines missing where none may be."""
    names = [pattern.replace("*", "") for pattern in COMPLETE if pattern != leave_out]
    files = {name: {"missing_lines": list(missing), "missing_branches": []} for name in names}
    path = tmp_path / "coverage.json"
    path.write_text(
        json.dumps({"totals": {"covered_branches": covered, "num_branches": 100}, "files": files})
    )
    return path


def test_coverage_gate__all_covered__finds_nothing(tmp_path: Path) -> None:
    assert problems_in(report(tmp_path)) == []


def test_coverage_gate__too_few_branches__says_how_many(tmp_path: Path) -> None:
    problems = problems_in(report(tmp_path, covered=89))
    assert problems == ["89.0 % of branches, at least 90 % are needed"]


def test_coverage_gate__line_of_the_ledger_missing__names_it(tmp_path: Path) -> None:
    problems = problems_in(report(tmp_path, missing=(17,)))
    assert problems[0] == (
        "store/services/ledger.py has to be covered completely; not covered: [17]"
    )


def test_coverage_gate__guarded_file_was_moved__is_a_problem(tmp_path: Path) -> None:
    problems = problems_in(report(tmp_path, leave_out=COMPLETE[1]))
    assert problems == [f"no file matches {COMPLETE[1]}, which has to be covered completely"]


@pytest.mark.parametrize(
    "line",
    [
        "======= 812 passed in 93.10s (0:01:33) =======",
        "= 1 failed, 2 passed, 3 warnings in 0.12s =",
        "\x1b[32m===== \x1b[1m3 passed\x1b[0m\x1b[32m in 1.00s\x1b[0m\x1b[32m =====\x1b[0m",
    ],
)
def test_summary__pytests_last_line__is_recognised(line: str) -> None:
    assert gates.SUMMARY.match(line)


def test_summary__a_heading__is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert not gates.SUMMARY.match("=========== slowest 5 durations ===========")


def test_run_gates__one_finds_something__shows_it_and_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = gates.Gate("good", [sys.executable, "-c", "print('quiet')"])
    bad = gates.Gate("bad", [sys.executable, "-c", "import sys; sys.exit('what is wrong')"])
    assert gates.run_gates([good], with_services=False) == 0
    assert gates.run_gates([good, bad], with_services=False) == 1
    output = capsys.readouterr().out
    assert "FAILED bad" in output
    assert "what is wrong" in output
    assert "quiet" not in output
    assert "1 of 2 gates passed" in output


def test_answering__nobody_listens__says_so() -> None:
    port = free_port()
    for url in (
        f"postgres://nobody@127.0.0.1:{port}/none",
        f"redis://127.0.0.1:{port}/0",
        f"amqp://guest:guest@127.0.0.1:{port}//",
    ):
        assert "refused" in problem_at(url)


def test_answering__services_of_this_run__answer() -> None:
    assert problem_at(os.environ["DATABASE_URL"]) == ""
    assert problem_at(os.environ["REDIS_URL"]) == ""
    assert problem_at(os.environ["CELERY_BROKER_URL"]) == ""
