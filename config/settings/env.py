"""The typed environment: each variable is read, checked and documented in one place.

A value comes from `NAME`, or from the file that `NAME_FILE` names (for container secrets).
`manage.py settings_table` writes the documentation from the variables that were read.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


@dataclass(frozen=True)
class Variable:
    """One documented environment variable. `default` is shown as text; secrets never are."""

    name: str
    kind: str
    default: str
    required: bool
    secret: bool
    doc: str


class Environment:
    """Reads variables and remembers what it read, and what was missing or malformed.

    Problems are collected, not raised one by one, so that an operator sees all of them at once.
    """

    def __init__(self, source: Mapping[str, str] | None = None) -> None:
        self.source = os.environ if source is None else source
        self.variables: dict[str, Variable] = {}
        self.problems: list[str] = []

    def raw(self, name: str) -> str | None:
        """The text of `NAME`, or of the file named by `NAME_FILE`; None when neither is set."""
        value = self.source.get(name)
        if value is not None and value.strip():
            return value.strip()
        path = self.source.get(f"{name}_FILE")
        if path:
            try:
                return Path(path).read_text(encoding="utf-8").strip()
            except OSError as error:
                self.problems.append(f"{name}_FILE cannot be read: {error.strerror}")
        return None

    def _read(
        self,
        name: str,
        kind: str,
        parse: Callable[[str], T],
        default: T,
        doc: str,
        required: bool = False,
        secret: bool = False,
    ) -> T:
        shown = "" if secret or default in ("", [], None) else str(default)
        self.variables[name] = Variable(name, kind, shown, required, secret, doc)
        text = self.raw(name)
        if text is None:
            if required:
                self.problems.append(f"{name} is not set ({doc})")
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problems.append(f"{name} is not valid: {error}")
            return default

    def text(
        self,
        name: str,
        default: str = "",
        *,
        doc: str,
        required: bool = False,
        secret: bool = False,
    ) -> str:
        return self._read(name, "text", lambda text: text, default, doc, required, secret)

    def number(self, name: str, default: int, *, doc: str) -> int:
        return self._read(name, "number", int, default, doc)

    def flag(self, name: str, default: bool, *, doc: str) -> bool:
        def parse(text: str) -> bool:
            if text.lower() in TRUE:
                return True
            if text.lower() in FALSE:
                return False
            raise ValueError("say true or false")

        return self._read(name, "true or false", parse, default, doc)

    def names(
        self, name: str, default: list[str], *, doc: str, required: bool = False
    ) -> list[str]:
        def parse(text: str) -> list[str]:
            return [part.strip() for part in text.split(",") if part.strip()]

        return self._read(name, "comma-separated", parse, default, doc, required)

    def rate(self, name: str, default: str, *, doc: str) -> tuple[int, int]:
        """`COUNT/SECONDS` → (count, seconds), both positive."""

        def parse(text: str) -> tuple[int, int]:
            count, _, seconds = text.partition("/")
            if int(count) < 1 or int(seconds) < 1:
                raise ValueError("both numbers must be positive")
            return int(count), int(seconds)

        value = self._read(name, "count/seconds", parse, parse(default), doc)
        self.variables[name] = Variable(name, "count/seconds", default, False, False, doc)
        return value

    def family(self, prefix: str, *, doc: str) -> dict[str, str]:
        """All secrets whose names begin with `prefix`: the rest of the name in lower case →
        value. As everywhere, `_FILE` after the name reads a file."""
        shown = f"{prefix}<NAME>"
        self.variables[shown] = Variable(shown, "text", "", False, True, doc)
        names = {name.removesuffix("_FILE") for name in self.source if name.startswith(prefix)} - {
            prefix.removesuffix("_")
        }
        values = {name: self.raw(name) for name in sorted(names)}
        return {name.removeprefix(prefix).lower(): value for name, value in values.items() if value}

    def refuse_problems(self) -> None:
        """Raise `ImproperlyConfigured` that names everything missing or malformed."""
        if self.problems:
            raise ImproperlyConfigured(
                "The configuration is not safe to start with:\n  - " + "\n  - ".join(self.problems)
            )


env = Environment()
