"""Races between friends, each with a control: without the locks the test sees the failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import QuerySet

from accounts.errors import FriendRequestsFull, FriendsFull, NoFriendRequest
from accounts.friend_selectors import are_friends
from accounts.models import Block, FriendCode, FriendRequest, Friendship, Game, Player
from accounts.services import friend_codes, friends
from config.api.problems import Problem
from tests.concurrency.test_ledger import outcomes
from tests.factories.accounts import PlayerFactory
from tests.threads import Meeting, at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32
LIMIT = 5


@pytest.fixture
def ada(game: Game) -> Player:
    return PlayerFactory.create(game=game)


@pytest.fixture
def others(game: Game) -> list[Player]:
    return PlayerFactory.create_batch(THREADS, game=game)


def ask(player: Player, other: Player) -> friends.Asked:
    return friends.ask(game_id=player.game_id, player_id=player.pk, other_id=other.pk)


def accept(player: Player, other: Player) -> Any:
    return friends.accept(game_id=player.game_id, player_id=player.pk, other_id=other.pk)


def block(player: Player, other: Player) -> Any:
    return friends.block(game_id=player.game_id, player_id=player.pk, other_id=other.pk)


@contextmanager
def without_locks(monkeypatch: pytest.MonkeyPatch, look: str, count: int) -> Iterator[None]:
    """No player is locked, and all threads have looked before any of them writes."""
    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "select_for_update", lambda rows, **options: rows)
        patched.setattr(friends, look, Meeting(count).after(getattr(friends, look)))
        yield


def both_ask(ada: Player, ben: Player) -> list[Any]:
    return at_once(2, lambda number: ask(*((ada, ben) if number else (ben, ada))))


def test_two_ask_each_other__become_friends_once(ada: Player, others: list[Player]) -> None:
    results = both_ask(ada, others[0])

    assert sorted(asked.status for asked in results) == ["friends", "requested"]
    assert Friendship.objects.count() == 2
    assert not FriendRequest.objects.exists()


def test_two_ask_each_other__control_without_locks__both_wait(
    ada: Player, others: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    with without_locks(monkeypatch, "_check_requests", 2):
        results = both_ask(ada, others[0])

    assert [asked.status for asked in results] == ["requested", "requested"]
    assert FriendRequest.objects.count() == 2


def accept_all(ada: Player, others: list[Player]) -> list[Any]:
    for other in others:
        FriendRequest.objects.create(sender=other, recipient=ada)
    return at_once(THREADS, lambda number: accept(ada, others[number]))


def test_32_acceptances__the_bound_is_exact(
    ada: Player, others: list[Player], settings: Any
) -> None:
    settings.MAX_FRIENDS = LIMIT
    results = accept_all(ada, others)

    assert outcomes(results) == (LIMIT, {FriendsFull})
    assert Friendship.objects.filter(player=ada).count() == LIMIT
    assert FriendRequest.objects.count() == THREADS - LIMIT


def test_32_acceptances__control_without_locks__more_friends(
    ada: Player, others: list[Player], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_FRIENDS = LIMIT
    with without_locks(monkeypatch, "_check_friends", THREADS):
        accept_all(ada, others)

    assert Friendship.objects.filter(player=ada).count() == THREADS


@pytest.mark.parametrize("bound", ["MAX_FRIEND_REQUESTS_SENT", "MAX_FRIEND_REQUESTS_RECEIVED"])
def test_32_requests__the_bounds_are_exact(
    ada: Player, others: list[Player], settings: Any, bound: str
) -> None:
    setattr(settings, bound, LIMIT)
    sent = bound.endswith("SENT")
    results = at_once(
        THREADS, lambda number: ask(*((ada, others[number]) if sent else (others[number], ada)))
    )

    assert outcomes(results) == (LIMIT, {FriendRequestsFull})
    assert FriendRequest.objects.count() == LIMIT


def test_32_requests__control_without_locks__more_wait(
    ada: Player, others: list[Player], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MAX_FRIEND_REQUESTS_SENT = LIMIT
    with without_locks(monkeypatch, "_check_requests", THREADS):
        at_once(THREADS, lambda number: ask(ada, others[number]))

    assert FriendRequest.objects.count() == THREADS


def accept_and_block(ada: Player, ben: Player) -> list[Any]:
    FriendRequest.objects.create(sender=ben, recipient=ada)
    return at_once(2, lambda number: (accept, block)[number](*((ada, ben), (ben, ada))[number]))


def test_block_against_acceptance__never_both(ada: Player, others: list[Player]) -> None:
    for ben in others[:8]:
        results = accept_and_block(ada, ben)

        assert outcomes(results)[1] <= {NoFriendRequest}
        assert Block.objects.filter(player=ben, blocked=ada).exists()
        assert not are_friends(ada.pk, ben.pk)
        assert not are_friends(ben.pk, ada.pk)


def test_block_against_acceptance__control_without_locks__blocked_friends(
    ada: Player, others: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = others[0]
    met = Meeting(2)
    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "select_for_update", lambda rows, **options: rows)
        # The acceptance has looked when the block has ended what there was, and writes after that.
        patched.setattr(friends, "_end", met.after(friends._end))
        patched.setattr(friends, "_check_friends", lambda *players: met.wait())
        accept_and_block(ada, ben)

    assert Block.objects.filter(player=ben, blocked=ada).exists()
    assert are_friends(ada.pk, ben.pk)


def test_everyone_with_everyone__no_deadlock(ada: Player, others: list[Player]) -> None:
    """Four players ask, accept, block and leave each other, in all orders."""
    people = [ada, *others[:3]]

    def act(number: int) -> None:
        for step in range(12):
            one, other = people[(number + step) % 4], people[(number * 3 + step * 2 + 1) % 4]
            if one == other:
                continue
            deed = (friends.ask, friends.accept, friends.unfriend, friends.block, friends.unblock)[
                (number + step) % 5
            ]
            try:
                deed(game_id=one.game_id, player_id=one.pk, other_id=other.pk)
            except Problem:
                continue

    assert outcomes(at_once(16, act)) == (16, set())
    pairs = set(Friendship.objects.values_list("player_id", "friend_id"))
    assert {(friend, player) for player, friend in pairs} == pairs
    blocks = set(Block.objects.values_list("player_id", "blocked_id"))
    assert not blocks & pairs


def test_own_code__16_times_at_once__one_code(ada: Player) -> None:
    codes: list[Any] = at_once(
        16, lambda number: friend_codes.own_code(game_id=ada.game_id, player_id=ada.pk).code
    )
    assert set(codes) == {FriendCode.objects.get().code}


def test_own_code__control__its_guard_is_the_primary_key(ada: Player) -> None:
    FriendCode.objects.create(player=ada, game_id=ada.game_id, code="KKKKKKKK")
    with pytest.raises(IntegrityError):
        FriendCode.objects.bulk_create(
            [FriendCode(player=ada, game_id=ada.game_id, code="WWWWWWWW")]
        )
