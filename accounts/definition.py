"""A game's content as a file: the sections that apps bring, and how they report.

Each app registers its sections in AppConfig.ready(). `manage.py apply_game` plans all of them in
order, and applies in one transaction what they found, unless one found a mistake.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from accounts.models import Game

ChangeKind = Literal["created", "changed", "removed"]
MAX_ERRORS = 100


@dataclass(frozen=True)
class Finding:
    """A mistake in the file: where, as a JSON pointer, and what is wrong, in a sentence."""

    pointer: str
    message: str


@dataclass(frozen=True)
class Change:
    """One difference between the file and the database."""

    kind: ChangeKind
    section: str
    key: str
    detail: str = ""


@dataclass
class Report:
    """What sections find out. `keys` has, by section, the keys that later sections may refer to:
    those of the file, or of the database where the file lacks the section. `shared` is what else a
    section has to tell later ones, by a name of its own."""

    errors: list[Finding] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    keys: dict[str, set[str]] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)

    def error(self, pointer: str, message: str) -> None:
        """Note a mistake; nothing will be applied."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(Finding(pointer, message))

    def change(self, kind: ChangeKind, section: str, key: str, detail: str = "") -> None:
        """Note a difference that will be applied."""
        self.changes.append(Change(kind, section, key, detail))

    def compare(
        self, section: str, wanted: Mapping[str, dict[str, Any]], existing: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Note how `wanted` (key → fields) differs from the rows (by key), of which those that are
        not wanted are archived; what has to be written."""
        writes: dict[str, dict[str, Any]] = {}
        for key, fields in wanted.items():
            row = existing.get(key)
            if row is None:
                self.change("created", section, key)
                writes[key] = fields
            elif different := [n for n, value in fields.items() if getattr(row, n) != value]:
                self.change("changed", section, key, ", ".join(different))
                writes[key] = fields
        for key, row in existing.items():
            if key not in wanted and row.is_active:
                self.change("removed", section, key)
                writes[key] = {"is_active": False}
        return writes

    def count(self, kind: ChangeKind) -> int:
        return Counter(change.kind for change in self.changes)[kind]


class Section(Protocol):
    """One top-level list of the file.

    `plan` checks the list, reports mistakes and differences, and returns what applies it; that
    is called inside a transaction, only if no section found a mistake. `export` returns what
    `plan` would take back without a difference, defaults left out. `known_keys` are the active
    keys in the database, for files that lack the section.
    """

    name: str
    order: int

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]: ...

    def export(self, game: Game) -> list[dict[str, Any]]: ...


_sections: dict[str, Section] = {}


def register(section: Section) -> None:
    """Bring a section. Registering its name again replaces it."""
    _sections[section.name] = section


def sections() -> list[Section]:
    """All sections, in the order in which they are applied."""
    return sorted(_sections.values(), key=lambda section: (section.order, section.name))
