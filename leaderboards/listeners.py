"""What leaderboards do when something happens in other apps."""

from typing import Any
from uuid import UUID

from leaderboards.services import entries


def tester_changed(*, game_id: str, player_id: str, is_tester: bool, **_: Any) -> None:
    """A player became a tester, or is none any more: off the boards, or back on."""
    entries.tester_changed(
        game_id=UUID(game_id), player_id=UUID(player_id), is_tester=is_tester, author="accounts"
    )
