"""Server events: facts that services record in the transaction that made them.

`analytics` is imported by the apps above it, but `accounts` lies below; so the sink is
registered here when analytics starts, and every app calls `record`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID


class Sink(Protocol):
    def __call__(
        self,
        *,
        game_id: UUID,
        player_id: UUID | None,
        name: str,
        props: Mapping[str, object],
        session_id: UUID | None,
        at: datetime | None,
    ) -> None: ...


_sink: Sink | None = None


def set_sink(sink: Sink) -> None:
    """Called once, by the analytics app."""
    global _sink
    _sink = sink


def record(
    *,
    game_id: UUID,
    player_id: UUID | None,
    name: str,
    props: Mapping[str, object],
    session_id: UUID | None = None,
    at: datetime | None = None,
) -> None:
    """Store one server event in the current transaction. `at` is now unless told."""
    if _sink is None:
        raise AssertionError("The analytics app has not registered its sink")
    _sink(
        game_id=game_id,
        player_id=player_id,
        name=name,
        props=props,
        session_id=session_id,
        at=at,
    )
