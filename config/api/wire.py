"""Base classes of the wire formats, and the types that bound their fields.

Every app's serializers.py builds on these: `Input` for what clients send (unknown fields are
errors), `Output` for what they get. A field that may be absent from an answer is `X | Unset`.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from config.api.parsing import INT64_MAX, INT64_MIN

__all__ = [
    "UNSET",
    "Amount",
    "Input",
    "Int64",
    "Key",
    "Output",
    "Quantity",
    "Timestamp",
    "UnsetType",
    "encode",
    "utc",
]


class Input(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What a client sends."""


class Output(msgspec.Struct, kw_only=True):
    """What a client gets."""


Int64 = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=INT64_MAX)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Key = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", max_length=64, description="The key of a definition"
    ),
]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


def utc(moment: datetime) -> datetime:
    """`moment` in UTC, so that it is written with `Z`."""
    return moment.astimezone(UTC)


def encode(value: object) -> bytes:
    """JSON bytes of an `Output` (datetimes in UTC end in `Z`, ids are strings)."""
    return msgspec.json.encode(value)
