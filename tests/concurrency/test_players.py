"""Races for players, each with a control: without its guard the test sees the failure."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from accounts import names
from accounts.models import Game, Identity, Player, Session
from accounts.services import identities, players, sign_in
from accounts.services.opening import Client, Opened
from config.api.preconditions import Precondition
from tests.factories.accounts import (
    SECRET,
    GameFactory,
    IdentityFactory,
    PlayerFactory,
)
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32


def first_sign_ins(game: Game) -> list[Opened | Exception]:
    return at_once(
        THREADS,
        lambda _: sign_in.with_device(
            game_id=game.pk,
            device_id="one device",
            device_secret=SECRET,
            create=True,
            client=Client(),
        ),
    )


def test_first_sign_in__32_at_once_from_one_device__make_one_player(
    settings: Any,
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"sign_in_identity": (1000, 1)}
    answers = first_sign_ins(GameFactory.create())

    opened = [answer for answer in answers if isinstance(answer, Opened)]
    assert len(opened) == THREADS, answers
    assert len({answer.player.id for answer in opened}) == 1
    assert sum(answer.created for answer in opened) == 1
    assert Player.objects.count() == Identity.objects.count() == 1
    assert Session.objects.count() == THREADS


def test_first_sign_in__control_without_the_constraint__makes_several(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"sign_in_identity": (1000, 1)}
    guard = "ON CONFLICT (game_id, method, subject) DO NOTHING"
    assert guard in players.CREATE
    monkeypatch.setattr(players, "CREATE", players.CREATE.replace(guard, ""))
    meeting = threading.Barrier(THREADS)
    looked_up = sign_in._open

    def looked_up_together(**arguments: Any) -> Opened | None:
        opened = looked_up(**arguments)
        meeting.wait(30)
        return opened

    monkeypatch.setattr(sign_in, "_open", looked_up_together)
    with without_identity_constraint():
        first_sign_ins(GameFactory.create())
        assert Player.objects.count() > 1


@contextmanager
def without_identity_constraint() -> Iterator[None]:
    name = "accounts_identity_once"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE accounts_identity DROP CONSTRAINT {name}")
    try:
        yield
    finally:
        Session.objects.all().delete()
        Identity.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute(
                f"ALTER TABLE accounts_identity ADD CONSTRAINT {name} "
                "UNIQUE (game_id, method, subject)"
            )


def test_display_name__32_players_at_once_with_one_tag__get_32_tags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "random_tag", lambda: 7)
    monkeypatch.setattr(names, "guest_name", lambda: "Quiet Otter")
    game = GameFactory.create()
    made = PlayerFactory.create_batch(THREADS, game=game)

    def rename(number: int) -> str:
        player = players.update_profile(
            game_id=game.pk,
            player_id=made[number].pk,
            changes={"display_name": "Quiet Otter"},
            expected=Precondition(any_version=True),
        )
        return str(player)

    renamed = at_once(THREADS, rename)

    assert len({str(name) for name in renamed}) == THREADS, renamed


def test_unlink__of_the_last_two_at_once__leaves_one() -> None:
    assert left_after_unlinking_both() == 1


def test_unlink__control_without_the_lock__leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        identities, "_locked", lambda game_id, player_id: Player.objects.get(pk=player_id)
    )
    meeting = threading.Barrier(2)
    # Both have deleted, and neither has committed, when they meet.
    monkeypatch.setattr(identities, "note_guest", lambda player: meeting.wait(30))
    assert left_after_unlinking_both() == 0


def left_after_unlinking_both() -> int:
    player = PlayerFactory.create()
    both = IdentityFactory.create_batch(2, player=player)
    at_once(
        2,
        lambda number: identities.unlink(
            game_id=player.game_id, player_id=player.pk, identity_id=both[number].pk
        ),
    )
    return Identity.objects.filter(player=player).count()


def test_link__one_device_to_32_players_at_once__belongs_to_one() -> None:
    game = GameFactory.create()
    made = PlayerFactory.create_batch(THREADS, game=game)

    answers = at_once(
        THREADS,
        lambda number: identities.link_device(
            game_id=game.pk, player_id=made[number].pk, device_id="shared", device_secret=SECRET
        ),
    )

    assert sum(isinstance(answer, tuple) for answer in answers) == 1
    assert Identity.objects.count() == 1
