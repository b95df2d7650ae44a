"""Wire formats of friends, friend requests, friend codes and blocks."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from accounts.models import Block, FriendCode, FriendRequest, Friendship
from accounts.selectors import PublicPlayer
from accounts.services import friend_codes
from accounts.services.friends import Asked
from config.api.pagination import PageQuery
from config.api.wire import UNSET, Input, Output, UnsetType, utc


class OtherPlayer(Input, frozen=True, kw_only=True):
    """Another player of the game."""

    player: UUID


class NewFriendRequest(Input, frozen=True, kw_only=True):
    """Whom to ask: a player, or whoever has this friend code."""

    player: UUID | UnsetType = UNSET
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] | UnsetType = UNSET


class RequestQuery(PageQuery, kw_only=True):
    """Whose requests: what the caller was asked, or has asked."""

    direction: Literal["received", "sent"] = "received"


class FriendRequestOut(Output, kw_only=True):
    """A request that waits. `player` is the other one."""

    player: PublicPlayer
    direction: Literal["received", "sent"]
    created_at: datetime

    @classmethod
    def received(cls, request: FriendRequest) -> "FriendRequestOut":
        return cls(
            player=PublicPlayer.of_player(request.sender),
            direction="received",
            created_at=utc(request.created_at),
        )

    @classmethod
    def sent(cls, request: FriendRequest) -> "FriendRequestOut":
        return cls(
            player=PublicPlayer.of_player(request.recipient),
            direction="sent",
            created_at=utc(request.created_at),
        )


class AskedOut(FriendRequestOut, kw_only=True):
    """What came of asking: `friends` when the other player had asked already."""

    status: Literal["requested", "friends"]

    @classmethod
    def of(cls, asked: Asked) -> "AskedOut":
        return cls(
            player=PublicPlayer.of_player(asked.player),
            direction="sent",
            created_at=utc(asked.at),
            status=asked.status,
        )


class FriendOut(Output, kw_only=True):
    """A friend."""

    player: PublicPlayer
    since: datetime

    @classmethod
    def of(cls, friendship: Friendship) -> "FriendOut":
        return cls(
            player=PublicPlayer.of_player(friendship.friend), since=utc(friendship.created_at)
        )


class FriendCodeOut(Output, kw_only=True):
    """The own friend code, for others to type: in any case, with or without the dash."""

    code: str
    created_at: datetime

    @classmethod
    def of(cls, code: FriendCode) -> "FriendCodeOut":
        return cls(code=friend_codes.shown(code.code), created_at=utc(code.created_at))


class BlockOut(Output, kw_only=True):
    """A player whom the caller has blocked."""

    player: PublicPlayer
    created_at: datetime

    @classmethod
    def of(cls, block: Block) -> "BlockOut":
        return cls(player=PublicPlayer.of_player(block.blocked), created_at=utc(block.created_at))
