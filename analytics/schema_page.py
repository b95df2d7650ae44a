"""docs/schema.md, made from the models: a diagram of each app, and what every index is for."""

import inspect
import re
from collections.abc import Iterator

from django.apps import apps
from django.db import models

APPS = ("accounts", "analytics", "store", "progress", "leaderboards", "config")

HEAD = """# The schema

Made by `manage.py schema_diagram` from the models; a test holds it to them. `PK` is the primary
key, `FK` a foreign key that PostgreSQL enforces; dotted lines are ids without a foreign key.

## Rules

- Keys that are seen outside are UUIDv7: ordered by time, so new rows land on the index's last
  pages.
- Every row belongs to a game, by a column of its own or through its player. An index that serves
  one game begins with the game or with something that belongs to one game.
- Every index is named, and below stands the query it is for. A foreign key gets an index only if
  something looks rows up by it (`db_index=False` otherwise): each index costs every write.
- Unique constraints are promises (one player per device, one unlock, one grant per key), not just
  speed: services insert with `ON CONFLICT` and let the index decide between two that come at
  once.
- Tables that grow with play are partitioned by time from their first migration
  (`config/db/partitions.py`), without foreign keys: they are written by single statements, and
  old partitions are dropped, not deleted from. Their unique indexes contain the partition column;
  what must be unique for ever has a table of its own.
- Partial indexes for queues (`next_attempt_at` of what is still due): they stay small however
  long the history.
- BRIN where rows come in the order of the column (`analytics_event.received_at`): a few bytes for
  each megabyte.
"""

KINDS = {
    "BigAutoField": "bigint",
    "AutoField": "int",
    "UUIDField": "uuid",
    "CharField": "text",
    "TextField": "text",
    "SlugField": "text",
    "EmailField": "text",
    "BooleanField": "bool",
    "DateTimeField": "timestamptz",
    "DateField": "date",
    "JSONField": "jsonb",
    "BinaryField": "bytea",
    "BigIntegerField": "bigint",
    "PositiveBigIntegerField": "bigint",
    "IntegerField": "int",
    "PositiveIntegerField": "int",
    "SmallIntegerField": "smallint",
    "PositiveSmallIntegerField": "smallint",
    "ArrayField": "array",
}
# Ids without a foreign key, by the name of their column.
LOOSE = {"game_id": "accounts_game", "player_id": "accounts_player"}


def schema_page() -> str:
    """The whole page, in Markdown."""
    parts = [HEAD]
    for label in APPS:
        tables = sorted(apps.get_app_config(label).get_models(), key=lambda m: m._meta.db_table)
        own = [model for model in tables if not model._meta.proxy and model._meta.managed]
        if own:
            parts.append(f"\n## {label}\n\n```mermaid\nerDiagram\n{diagram(own)}```\n")
            parts.append("\n" + index_table(own))
    return "".join(parts)


def diagram(tables: list[type[models.Model]]) -> str:
    """Mermaid's text for these tables and for what they point to."""
    lines: list[str] = []
    for model in tables:
        lines += relations(model)
    for model in tables:
        lines.append(f"    {model._meta.db_table} {{")
        lines += [f"        {column}" for column in columns(model)]
        lines.append("    }")
    return "\n".join(lines) + "\n"


def columns(model: type[models.Model]) -> Iterator[str]:
    for field in model._meta.concrete_fields:
        if isinstance(field, models.CompositePrimaryKey):
            continue
        target: models.Field[object, object] = field
        while isinstance(target, models.ForeignKey):
            target = target.target_field
        keys = [
            mark
            for mark, holds in (
                ("PK", field.primary_key or field.attname in composite_key(model)),
                ("FK", is_enforced(field)),
                ("UK", field.unique and not field.primary_key),
            )
            if holds
        ]
        kind = KINDS.get(target.get_internal_type(), target.get_internal_type())
        yield " ".join(filter(None, (kind, field.column, ",".join(keys))))


def is_enforced(field: "models.Field[object, object]") -> bool:
    """Whether PostgreSQL holds it: not every column that points somewhere has a constraint."""
    return isinstance(field, models.ForeignKey) and bool(getattr(field, "db_constraint", True))


def composite_key(model: type[models.Model]) -> tuple[str, ...]:
    key = model._meta.pk
    return key.field_names if isinstance(key, models.CompositePrimaryKey) else ()


def relations(model: type[models.Model]) -> Iterator[str]:
    own = model._meta.db_table
    for field in model._meta.concrete_fields:
        if isinstance(field, models.ForeignKey):
            many = "|o" if field.unique else "o{"
            one = "|o" if field.null else "||"
            line = "--" if is_enforced(field) else ".."
            other = field.related_model._meta.db_table
            yield f'    {other} {one}{line}{many} {own} : "{field.name}"'
        elif (field.column in LOOSE) and LOOSE[field.column] != own:
            yield f'    {LOOSE[field.column]} ||..o{{ {own} : "{field.column}"'


def index_table(tables: list[type[models.Model]]) -> str:
    rows = ["| table | index or constraint | on | for |", "| --- | --- | --- | --- |"]
    for model in tables:
        table = model._meta.db_table
        rows += [
            f"| `{table}` | `{each.name}` | {covers(each)} | {purpose(model, each.name)} |"
            for each in (*model._meta.constraints, *model._meta.indexes)
        ]
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def covers(promise: models.Index | models.BaseConstraint) -> str:
    if isinstance(promise, models.CheckConstraint):
        return "check"
    fields = ", ".join(getattr(promise, "fields", ()))
    expressions = ", ".join(str(e) for e in getattr(promise, "expressions", ()))
    kind = "unique " if isinstance(promise, models.UniqueConstraint) else ""
    condition = " where …" if getattr(promise, "condition", None) else ""
    return f"{kind}({fields or expressions}){condition}"


def purpose(model: type[models.Model], name: str) -> str:
    """The comment above an index in the model's source."""
    lines = [line.strip() for line in inspect.getsource(model).splitlines()]
    at = next((n for n, line in enumerate(lines) if f'"{name}"' in line), None)
    if at is None:
        return ""
    while at > 0 and not re.search(r"(Index|Constraint)\(", lines[at]):
        at -= 1
    found = comment_above(lines, at)
    if not found and at > 0 and re.fullmatch(r"(indexes|constraints) = [\[(]", lines[at - 1]):
        found = comment_above(lines, at - 1)
    elif not found and re.match(r"(indexes|constraints) = ", lines[at]):
        found = comment_above(lines, at)
    return found.replace("|", "\\|")


def comment_above(lines: list[str], at: int) -> str:
    said: list[str] = []
    while at > 0 and lines[at - 1].startswith("#"):
        at -= 1
        said.insert(0, lines[at].lstrip("# "))
    return " ".join(said)
