"""Merges that meet each other, sign-ins, and value on its way; with controls."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts import merging as registry
from accounts.errors import MergeTokenInvalid, PlayerMerged
from accounts.merging import Pair
from accounts.models import Game, Identity, Merge, Player, Session
from accounts.services import merging, sign_in
from accounts.services.opening import Opened
from config.db.ids import uuid7
from store.catalogue import catalogue
from store.models import Balance
from store.services import verification
from tests.concurrency.test_sessions import in_thread, sign_in_again, waits_for_a_lock_or_done
from tests.factories.accounts import IdentityFactory, PlayerFactory
from tests.factories.merging import merge, token_for
from tests.factories.store import CurrencyFactory, give
from tests.threads import Meeting, at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 16


@pytest.fixture
def absorbed(game: Game) -> Player:
    """Has 100 gems, and a device."""
    CurrencyFactory(game=game, key="gems")
    row = PlayerFactory.create(game=game)
    IdentityFactory.create(player=row)
    give(row, {"gems": 100})
    catalogue(game.pk)
    return row


def gems_of(*players: Player) -> int:
    rows = Balance.objects.filter(player__in=players, currency__key="gems")
    return sum(row.paid + row.earned for row in rows)


def merge_at_once(
    absorbed: Player, survivors: Sequence[Player]
) -> list[tuple[Merge, bool] | Exception]:
    tokens = [token_for(survivor, absorbed) for survivor in survivors]

    def act(number: int) -> tuple[Merge, bool]:
        survivor = survivors[number]
        return merging.merge(
            game_id=survivor.game_id, player_id=survivor.pk, token=tokens[number], choices={}
        )

    return at_once(len(survivors), act)


def test_one_merge__16_at_once__happens_once(game: Game, absorbed: Player) -> None:
    survivor = PlayerFactory.create(game=game)
    done = merge_at_once(absorbed, [survivor] * THREADS)
    outcomes = [each[1] for each in done if not isinstance(each, Exception)]
    assert sorted(outcomes) == [False] + [True] * (THREADS - 1)
    assert (gems_of(survivor), gems_of(absorbed)) == (100, 0)
    assert list(verification.verify()) == []


def test_one_player__into_16_at_once__goes_to_one(game: Game, absorbed: Player) -> None:
    survivors = [PlayerFactory.create(game=game) for _ in range(THREADS)]
    done = merge_at_once(absorbed, survivors)
    refused = [each for each in done if isinstance(each, Exception)]
    assert {type(each) for each in refused} <= {MergeTokenInvalid, PlayerMerged}
    assert len(refused) == THREADS - 1
    assert gems_of(*survivors) == 100
    assert Merge.objects.count() == 1
    assert list(verification.verify()) == []


def test_one_player__control_without_the_lock__is_refused_by_the_constraint(
    game: Game, absorbed: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    survivors = [PlayerFactory.create(game=game) for _ in range(4)]
    meeting = Meeting(4)

    def unlocked(game_id: Any, survivor_id: Any, absorbed_id: Any, merge_id: Any = None) -> Pair:
        found = Player.objects.in_bulk([survivor_id, absorbed_id])
        return Pair(merge_id or uuid7(), found[survivor_id], found[absorbed_id])

    monkeypatch.setattr(merging, "_locked", unlocked)
    monkeypatch.setattr(merging, "_check", meeting.after(merging._check))
    done = merge_at_once(absorbed, survivors)
    assert any(isinstance(each, IntegrityError) for each in done), done
    assert gems_of(*survivors) == 100


def test_two_players__into_each_other_at_once__become_one(game: Game, absorbed: Player) -> None:
    other = PlayerFactory.create(game=game)
    IdentityFactory.create(player=other)
    tokens = [token_for(absorbed, other), token_for(other, absorbed)]
    players = [absorbed, other]

    done = at_once(
        2,
        lambda number: merging.merge(
            game_id=game.pk, player_id=players[number].pk, token=tokens[number], choices={}
        ),
    )

    assert sum(isinstance(each, Exception) for each in done) == 1
    assert gems_of(absorbed, other) == 100
    assert (
        Player.objects.filter(merged_into__isnull=True, pk__in=[absorbed.pk, other.pk]).count() == 1
    )


def test_grants__while_players_merge__are_not_lost(game: Game, absorbed: Player) -> None:
    """Each is with the survivor, or was refused and told whom to give it to."""
    survivor = PlayerFactory.create(game=game)
    token = token_for(survivor, absorbed)

    def act(number: int) -> Any:
        if number == 0:
            return merging.merge(game_id=game.pk, player_id=survivor.pk, token=token, choices={})
        return give(absorbed, {"gems": 1}, key=f"gift:{number}")

    done = at_once(THREADS, act)

    given = sum(not isinstance(each, Exception) for each in done[1:])
    assert {type(each) for each in done if isinstance(each, Exception)} <= {PlayerMerged}
    assert gems_of(survivor) == 100 + given
    assert gems_of(absorbed) == 0
    assert list(verification.verify()) == []


def sign_in_during_merge(game: Game, absorbed: Player) -> Opened:
    survivor = PlayerFactory.create(game=game)
    identity = Identity.objects.get(player=absorbed)
    token = token_for(survivor, absorbed)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            merging.merge(game_id=game.pk, player_id=survivor.pk, token=token, choices={})
            opened = pool.submit(in_thread, lambda: sign_in_again(identity))
            waits_for_a_lock_or_done(opened.done)
        found: Opened = opened.result(30)
    return found


def test_sign_in__while_its_player_is_merged__opens_a_session_of_the_survivor(
    game: Game, absorbed: Player
) -> None:
    opened = sign_in_during_merge(game, absorbed)
    assert opened.player.id == Merge.objects.get().survivor_id
    assert not Session.objects.filter(player=absorbed, revoked_at__isnull=True).exists()


def test_sign_in__control_without_the_look_at_the_merge__is_left_with_the_absorbed(
    game: Game, absorbed: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = "p.merged_into_id IS NOT NULL"
    assert guard in sign_in.OPEN
    monkeypatch.setattr(sign_in, "OPEN", sign_in.OPEN.replace(guard, "false"))
    assert sign_in_during_merge(game, absorbed).player.id == absorbed.pk
    assert Session.objects.filter(player=absorbed, revoked_at__isnull=True).exists()


def test_merge__that_fails_in_its_last_part__has_moved_nothing(
    game: Game, absorbed: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    survivor = PlayerFactory.create(game=game)
    last = registry.parts()[-1]
    fails: Callable[..., Any] = lambda *_: 1 / 0  # noqa: E731 (a part that fails)
    monkeypatch.setattr(last, "merge", fails)
    with pytest.raises(ZeroDivisionError):
        merge(survivor, absorbed)
    assert gems_of(absorbed) == 100
    assert Identity.objects.filter(player=absorbed).count() == 1
    assert not Merge.objects.exists()
