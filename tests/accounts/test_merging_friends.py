"""What friends, requests and blocks bring to a merge."""

import pytest

from accounts import friend_selectors
from accounts.models import Block, FriendRequest, Friendship, Player
from accounts.services import friends
from tests.factories.accounts import PlayerFactory
from tests.factories.merging import merge, undo

pytestmark = pytest.mark.django_db


@pytest.fixture
def survivor() -> Player:
    return PlayerFactory.create()


@pytest.fixture
def absorbed(survivor: Player) -> Player:
    return PlayerFactory.create(game=survivor.game)


@pytest.fixture
def third(survivor: Player) -> Player:
    return PlayerFactory.create(game=survivor.game)


def ask(sender: Player, recipient: Player) -> None:
    friends.ask(game_id=sender.game_id, player_id=sender.pk, other_id=recipient.pk)


def befriend(one: Player, two: Player) -> None:
    ask(one, two)
    ask(two, one)


def block(player: Player, other: Player) -> None:
    friends.block(game_id=player.game_id, player_id=player.pk, other_id=other.pk)


def friends_of(player: Player) -> set[Player]:
    rows = Friendship.objects.filter(player=player).select_related("friend")
    found = {row.friend for row in rows}
    for friend in found:
        assert Friendship.objects.filter(player=friend, friend=player).exists()
    return found


def test_friends__come_along_and_go_back(survivor: Player, absorbed: Player, third: Player) -> None:
    befriend(absorbed, third)
    made = merge(survivor, absorbed)
    assert friends_of(survivor) == {third}
    assert friends_of(third) == {survivor}

    undone = undo(made)

    assert friends_of(absorbed) == {third}
    assert friends_of(survivor) == set()
    assert undone.outcome["undone"]["friends"] == {"friends": 1, "friends_lost_since": 0}


def test_a_friend_of_both__is_one(survivor: Player, absorbed: Player, third: Player) -> None:
    befriend(absorbed, third)
    befriend(survivor, third)
    made = merge(survivor, absorbed)
    assert friends_of(third) == {survivor}
    undo(made)
    assert friends_of(third) == {survivor, absorbed}


def test_friends_of_each_other__are_no_longer(survivor: Player, absorbed: Player) -> None:
    befriend(survivor, absorbed)
    merge(survivor, absorbed)
    assert friends_of(survivor) == set()
    assert not Friendship.objects.exists()


def test_a_friend_whom_the_survivor_has_left__stays_left(
    survivor: Player, absorbed: Player, third: Player
) -> None:
    befriend(absorbed, third)
    made = merge(survivor, absorbed)
    friends.unfriend(game_id=survivor.game_id, player_id=survivor.pk, other_id=third.pk)
    undone = undo(made)
    assert friends_of(absorbed) == set()
    assert undone.outcome["undone"]["friends"]["friends_lost_since"] == 1


def test_requests__come_along(survivor: Player, absorbed: Player, third: Player) -> None:
    fourth = PlayerFactory.create(game=survivor.game)
    ask(absorbed, third)
    ask(survivor, third)
    ask(fourth, absorbed)
    ask(absorbed, survivor)
    merge(survivor, absorbed)
    found = set(FriendRequest.objects.values_list("sender", "recipient"))
    assert found == {(survivor.pk, third.pk), (fourth.pk, survivor.pk)}


def test_blocks__by_and_of_the_absorbed__hold_for_the_survivor(
    survivor: Player, absorbed: Player, third: Player
) -> None:
    fourth = PlayerFactory.create(game=survivor.game)
    befriend(survivor, third)
    block(third, absorbed)
    block(absorbed, fourth)
    ask(fourth, absorbed)
    made = merge(survivor, absorbed)

    assert not friend_selectors.are_friends(survivor.pk, third.pk)
    assert not Friendship.objects.exists()
    assert not FriendRequest.objects.exists()
    between = set(Block.objects.values_list("player", "blocked"))
    assert {(third.pk, survivor.pk), (survivor.pk, fourth.pk)} < between

    undo(made)
    between = set(Block.objects.values_list("player", "blocked"))
    assert between == {(third.pk, absorbed.pk), (absorbed.pk, fourth.pk)}
