"""The limits of coverage: 90 % of all branches, every branch where money or sessions are at stake.

python -m config.quickstart.coverage_gate coverage.json
"""

import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

LEAST_BRANCHES = 90.0
COMPLETE = ("store/services/ledger*.py", "accounts/services/sessions.py")


def problems_in(report: Path) -> list[str]:
    """What falls short in a JSON report of coverage.py made with branches; empty when all is well.

    A pattern of COMPLETE that matches no file is a problem too: the file was moved, and its rule
    would be gone in silence.
    """
    data: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    problems = []
    totals = data["totals"]
    branches = 100 * totals["covered_branches"] / max(totals["num_branches"], 1)
    if branches < LEAST_BRANCHES:
        problems.append(f"{branches:.1f} % of branches, at least {LEAST_BRANCHES:.0f} % are needed")
    for pattern in COMPLETE:
        matched = [name for name in data["files"] if fnmatch(name, pattern)]
        if not matched:
            problems.append(f"no file matches {pattern}, which has to be covered completely")
        for name in matched:
            part = data["files"][name]
            missing = part["missing_lines"] + part["missing_branches"]
            if missing:
                problems.append(f"{name} has to be covered completely; not covered: {missing}")
    return problems


def main() -> int:
    problems = problems_in(Path(sys.argv[1]))
    print("\n".join(problems) or "Coverage is within its limits.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
