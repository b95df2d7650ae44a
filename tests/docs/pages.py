"""Runs the curl examples of a page, in order and in one shell, against a running server."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.db.ids import uuid7

_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPECTED = re.compile(r"^# → (\d{3})\s*\Z", re.MULTILINE)

# `curl` notes each answer's status; the last one of a block counts. Every block gets an id that
# no other one had.
PROLOGUE = """
curl() {
  $REAL_CURL "$@" -o "$WORK/body" -w '%{http_code}' > "$WORK/status"
  cat "$WORK/body"
}
"""
STEP = """
export UUID={uuid}
: > "$WORK/status"; : > "$WORK/body"
{{
{block}
}} > "$WORK/output.{number}" 2>&1
cp "$WORK/status" "$WORK/status.{number}"
"""


@dataclass(frozen=True)
class Example:
    """A fenced block with curl in it. `expected` is the status after `# →`, if it says one."""

    number: int
    text: str
    expected: int | None


@dataclass(frozen=True)
class Outcome:
    example: Example
    status: str
    output: str

    @property
    def is_as_told(self) -> bool:
        return self.status == str(self.example.expected)

    def __str__(self) -> str:
        return f"{self.example.text}  … answered {self.status or 'nothing'}:\n{self.output[:1500]}"


def examples_in(text: str) -> list[Example]:
    """The page's curl examples, in order."""
    found: list[Example] = []
    for block in _BLOCK.findall(text):
        if re.search(r"^\s*(\w+=\$\()?curl ", block, re.MULTILINE):
            said = _EXPECTED.search(block)
            found.append(Example(len(found), block, int(said[1]) if said else None))
    return found


def run(
    examples: list[Example], *, variables: Mapping[str, str], curl: str, folder: Path
) -> list[Outcome]:
    """Run the examples one after another in one bash, so that their variables last."""
    steps = [
        STEP.format(block=example.text, number=example.number, uuid=uuid7()) for example in examples
    ]
    done = subprocess.run(
        ["bash", "-u"],
        input=PROLOGUE + "".join(steps),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "REAL_CURL": curl, "WORK": str(folder),
             **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    outcomes = []
    for example in examples:
        status = folder / f"status.{example.number}"
        output = folder / f"output.{example.number}"
        outcomes.append(
            Outcome(
                example,
                status.read_text() if status.exists() else "",
                output.read_text(errors="replace") if output.exists() else done.stderr,
            )
        )
    return outcomes
