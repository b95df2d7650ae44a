"""Merging two players: what each app brings to it.

Each app registers its part in AppConfig.ready(); `accounts.services.merging` calls all of them in
order, in one transaction. What a part moves it writes down, as JSON, and can take back with that.
Value and what has one owner moves; what can be copied is copied, so that the absorbed player stays
as it was and can be given back. docs/adr/0019 has the rules.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from accounts.models import Player

Json = dict[str, Any]


class Pair(NamedTuple):
    """Two players of a game, both locked; `merge_id` names their merge."""

    merge_id: UUID
    survivor: Player
    absorbed: Player

    @property
    def game_id(self) -> UUID:
        return self.survivor.game_id


class Moved(NamedTuple):
    """`journal` is what an undo needs; `told` is what the player is told of it."""

    journal: Json
    told: Json


class Part(Protocol):
    """What an app does when players are merged. All but `holds` run inside the transaction.

    holds    what a player has, for the one who has to choose
    lock     takes the app's locks that come before the players' rows, for both players' ids
    merge    moves and copies; `choices` are the player's (accounts/serializers.py: MergeRequest).
             Raises a `Problem` where they make no sense
    settle   brings over what was still on its way to the absorbed player; the journal with it
    undo     gives back what is still there; what it could and could not, for staff
    """

    name: str
    order: int

    def holds(self, player: Player) -> Json: ...

    def lock(self, player_ids: Sequence[UUID]) -> None: ...

    def merge(self, pair: Pair, choices: Mapping[str, Any]) -> Moved: ...

    def settle(self, pair: Pair, journal: Json) -> Json: ...

    def undo(self, pair: Pair, journal: Json) -> Json: ...


_parts: dict[str, Part] = {}


def register(part: Part) -> None:
    """Bring a part. Registering its name again replaces it."""
    _parts[part.name] = part


def parts() -> list[Part]:
    """All parts, in the order in which players are merged."""
    return sorted(_parts.values(), key=lambda part: part.order)
