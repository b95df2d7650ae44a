"""Bounded lists by keyset: a cursor is the position of the last row seen, not a count of rows.

Pages stay right while rows come and go, and the thousandth page costs what the first does.
The ordering must end in a unique column, so that rows which tie are neither lost nor repeated.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
from django.db.models import Model, Q, QuerySet

from config.api.problems import InvalidCursor

M = TypeVar("M", bound=Model)
T = TypeVar("T")
MAX_LIMIT = 200


class PageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`?limit=` (1–200, 50 unless told) and `?cursor=`. Lists with filters extend it."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class Page(msgspec.Struct, Generic[T], kw_only=True):
    """A list as clients see it. `next` and `previous` are cursors, or null at an end."""

    results: list[T]
    next: str | None = None
    previous: str | None = None


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """A position in an ordering. `backward` asks for the rows before it."""

    backward: bool
    values: list[int | str | float | bool | None]


def encode_cursor(values: Sequence[Any], *, backward: bool = False) -> str:
    """An opaque cursor for the row with these ordering values."""
    plain = [str(v) if isinstance(v, (UUID, datetime)) else v for v in values]
    data = msgspec.json.encode(Cursor(backward, plain))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_cursor(text: str, kinds: Sequence[type]) -> tuple[bool, list[Any]]:
    """(backward, values of these kinds). Raises `InvalidCursor`."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.json.decode(data, type=Cursor)
        if len(cursor.values) != len(kinds):
            raise InvalidCursor
        values: list[Any] = []
        for value, kind in zip(cursor.values, kinds, strict=True):
            converted: Any = (
                datetime.fromisoformat(str(value))
                if kind is datetime
                else msgspec.convert(value, kind)
            )
            if isinstance(converted, int) and not -(2**63) <= converted < 2**63:
                raise InvalidCursor
            if isinstance(converted, datetime) and converted.tzinfo is None:
                raise InvalidCursor
            if isinstance(converted, str) and "\0" in converted:
                raise InvalidCursor
            values.append(converted)
    except (ValueError, TypeError, msgspec.MsgspecError):
        raise InvalidCursor from None
    return cursor.backward, values


def keyset_page(
    queryset: "QuerySet[M]", *, order: Sequence[str], kinds: Sequence[type], query: PageQuery
) -> tuple[list[M], str | None, str | None]:
    """(rows, next, previous) of `queryset` in `order` (as in order_by), one page.

    `kinds` are the Python types of the ordering columns, for reading the cursor.
    """
    names = [name.lstrip("-") for name in order]
    descending = [name.startswith("-") for name in order]
    backward = False
    rows: QuerySet[M] = queryset
    if query.cursor is not None:
        backward, values = decode_cursor(query.cursor, kinds)
        rows = rows.filter(_beyond(names, descending, values, backward))
    flipped = [
        name if down == backward else f"-{name}"
        for name, down in zip(names, descending, strict=True)
    ]
    found = list(rows.order_by(*flipped)[: query.limit + 1])
    more = len(found) > query.limit
    found = found[: query.limit]
    if backward:
        found.reverse()
    if not found:
        return [], None, None

    def at(row: M, *, back: bool) -> str:
        return encode_cursor([getattr(row, name) for name in names], backward=back)

    has_next = True if backward else more
    has_previous = more if backward else query.cursor is not None
    return (
        found,
        at(found[-1], back=False) if has_next else None,
        at(found[0], back=True) if has_previous else None,
    )


def _beyond(names: list[str], descending: list[bool], values: list[Any], backward: bool) -> Q:
    """Rows strictly after (or before) `values`: a > x, or a = x and b > y, and so on.

    The first column is also bounded on its own, which lets PostgreSQL start the index there.
    """
    condition = Q()
    equal = Q()
    for name, down, value in zip(names, descending, values, strict=True):
        operator = "lt" if down != backward else "gt"
        condition |= equal & Q(**{f"{name}__{operator}": value})
        equal &= Q(**{name: value})
    first = "lte" if descending[0] != backward else "gte"
    return Q(**{f"{names[0]}__{first}": values[0]}) & condition
