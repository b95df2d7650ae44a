"""Endpoints of friends, friend requests, friend codes and blocks."""

from datetime import datetime
from uuid import UUID

from django.http import HttpResponse

from accounts import errors, friend_selectors
from accounts.authentication import limited_address
from accounts.friend_serializers import (
    AskedOut,
    BlockOut,
    FriendCodeOut,
    FriendOut,
    FriendRequestOut,
    NewFriendRequest,
    OtherPlayer,
    RequestQuery,
)
from accounts.services import friend_codes, friends
from config.api.callers import ApiRequest
from config.api.pagination import Page, PageQuery, keyset_page
from config.api.parsing import invalid
from config.api.problems import NotFound
from config.api.views import ApiViewSet, answer, endpoint
from config.api.wire import UNSET

EXAMPLE_PLAYER = {"player": "01a1fd48-f3a6-74a5-9f83-3bba5ee735f4"}


class FriendViewSet(ApiViewSet):
    """The calling player's friends."""

    @endpoint(callers=("player",), answers={200: Page[FriendOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List the own friends, the newest first."""
        rows, after, before = keyset_page(
            friend_selectors.friendships_of(request.caller.player),
            order=("-created_at", "-friend_id"),
            kinds=(datetime, UUID),
            query=query,
        )
        results = [FriendOut.of(row) for row in rows]
        return answer(Page(results=results, next=after, previous=before))

    @endpoint(
        callers=("player",),
        answers={200: FriendOut, 201: FriendOut},
        body=OtherPlayer,
        problems=(NotFound, errors.NotYourself, errors.NoFriendRequest, errors.FriendsFull),
        example=EXAMPLE_PLAYER,
    )
    def create(self, request: ApiRequest, body: OtherPlayer) -> HttpResponse:
        """Accept the request of a player. Accepting it again answers 200."""
        friendship, is_new = friends.accept(
            game_id=request.caller.game_id,
            player_id=request.caller.player,
            other_id=body.player,
        )
        return answer(FriendOut.of(friendship), status=201 if is_new else 200)

    @endpoint(callers=("player",), answers={204: None}, problems=(errors.NotYourself,))
    def destroy(self, request: ApiRequest, player: UUID) -> HttpResponse:
        """End a friendship, for both."""
        friends.unfriend(
            game_id=request.caller.game_id, player_id=request.caller.player, other_id=player
        )
        return answer()


class FriendRequestViewSet(ApiViewSet):
    """Friend requests that wait for an answer."""

    @endpoint(callers=("player",), answers={200: Page[FriendRequestOut]}, query=RequestQuery)
    def list(self, request: ApiRequest, query: RequestQuery) -> HttpResponse:
        """List what the caller was asked, or with `?direction=sent` has asked, the newest first."""
        if query.direction == "sent":
            requests = friend_selectors.requests_sent(request.caller.player)
            shown = FriendRequestOut.sent
        else:
            requests = friend_selectors.requests_received(request.caller.player)
            shown = FriendRequestOut.received
        rows, after, before = keyset_page(
            requests, order=("-created_at", "-id"), kinds=(datetime, int), query=query
        )
        return answer(Page(results=[shown(row) for row in rows], next=after, previous=before))

    @endpoint(
        callers=("player",),
        answers={200: AskedOut, 201: AskedOut},
        body=NewFriendRequest,
        limits=("friend_requests",),
        problems=(
            NotFound,
            errors.NotYourself,
            errors.PlayerBlocked,
            errors.FriendCodeUnknown,
            errors.FriendRequestsFull,
            errors.FriendsFull,
        ),
        example=EXAMPLE_PLAYER,
    )
    def create(self, request: ApiRequest, body: NewFriendRequest) -> HttpResponse:
        """Ask a player to be friends, by `player` or by their friend `code`.

        If that player has asked the caller already, both are friends at once, and `status` is
        `friends`. Asking again changes nothing, and answers 200. Friend codes that nobody has
        count against limits of their own.
        """
        caller = request.caller
        if body.player is not UNSET and body.code is UNSET:
            asked = friends.ask(
                game_id=caller.game_id, player_id=caller.player, other_id=body.player
            )
        elif body.code is not UNSET and body.player is UNSET:
            asked = friends.ask_by_code(
                game_id=caller.game_id,
                player_id=caller.player,
                typed=body.code,
                address=limited_address(request.client_ip),
            )
        else:
            raise invalid("", "Say either player or code")
        return answer(AskedOut.of(asked), status=201 if asked.is_new else 200)

    @endpoint(
        callers=("player",),
        answers={204: None},
        problems=(errors.NotYourself, errors.NoFriendRequest),
    )
    def destroy(self, request: ApiRequest, player: UUID) -> HttpResponse:
        """Decline what a player has asked, or withdraw what the caller has asked that player."""
        friends.drop_request(
            game_id=request.caller.game_id, player_id=request.caller.player, other_id=player
        )
        return answer()


class FriendCodeViewSet(ApiViewSet):
    """The calling player's friend code."""

    @endpoint(callers=("player",), answers={200: FriendCodeOut})
    def retrieve(self, request: ApiRequest) -> HttpResponse:
        """Read the own friend code, by which others can ask. It is made on first use."""
        code = friend_codes.own_code(
            game_id=request.caller.game_id, player_id=request.caller.player
        )
        return answer(FriendCodeOut.of(code))

    @endpoint(callers=("player",), answers={204: None})
    def destroy(self, request: ApiRequest) -> HttpResponse:
        """Throw the own friend code away. The next one that is read is another."""
        friend_codes.throw_away(player_id=request.caller.player)
        return answer()


class BlockViewSet(ApiViewSet):
    """Players with whom the calling player wants nothing to do."""

    @endpoint(callers=("player",), answers={200: Page[BlockOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List whom the caller has blocked, the newest first."""
        rows, after, before = keyset_page(
            friend_selectors.blocks_of(request.caller.player),
            order=("-created_at", "-id"),
            kinds=(datetime, int),
            query=query,
        )
        results = [BlockOut.of(row) for row in rows]
        return answer(Page(results=results, next=after, previous=before))

    @endpoint(
        callers=("player",),
        answers={200: BlockOut, 201: BlockOut},
        body=OtherPlayer,
        problems=(NotFound, errors.NotYourself, errors.BlocksFull),
        example=EXAMPLE_PLAYER,
    )
    def create(self, request: ApiRequest, body: OtherPlayer) -> HttpResponse:
        """Block a player.

        It ends the friendship and drops the requests of both. Whoever is blocked does not find
        out: their requests are answered as any other, and never seen here.
        """
        block, is_new = friends.block(
            game_id=request.caller.game_id,
            player_id=request.caller.player,
            other_id=body.player,
        )
        return answer(BlockOut.of(block), status=201 if is_new else 200)

    @endpoint(callers=("player",), answers={204: None}, problems=(errors.NotYourself,))
    def destroy(self, request: ApiRequest, player: UUID) -> HttpResponse:
        """Unblock a player. What they have asked meanwhile stays unseen."""
        friends.unblock(
            game_id=request.caller.game_id, player_id=request.caller.player, other_id=player
        )
        return answer()
