"""Races for sessions, each with a control: without its guard the test sees the failure."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from accounts.errors import PlayerBanned, RefreshReused
from accounts.models import ApiKey, Identity, Player, Session
from accounts.refresh_tokens import make_refresh_token
from accounts.services import keys, sanctions, sessions, sign_in
from accounts.services.opening import Client, Opened
from tests.factories.accounts import (
    SECRET,
    GameFactory,
    IdentityFactory,
    PlayerFactory,
    SessionFactory,
)
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32


def refreshed(session: Session) -> list[Opened | Exception]:
    token = make_refresh_token(session.pk, 1)
    return at_once(THREADS, lambda _: sessions.refresh(game_id=session.game_id, token=token))


def test_refresh__32_at_once__makes_one_family() -> None:
    session = SessionFactory.create()

    answers = refreshed(session)

    assert all(isinstance(answer, Opened) for answer in answers), answers
    assert len({answer.refresh for answer in answers if isinstance(answer, Opened)}) == 1
    session.refresh_from_db()
    assert session.generation == 2
    assert Session.objects.count() == 1
    assert session.revoked_at is None


def test_refresh__32_at_once_without_grace__lets_one_through(settings: LazySettings) -> None:
    settings.REFRESH_GRACE_SECONDS = 0
    session = SessionFactory.create()

    answers = refreshed(session)

    assert sum(isinstance(answer, Opened) for answer in answers) == 1
    assert any(isinstance(answer, RefreshReused) for answer in answers)
    session.refresh_from_db()
    assert session.revoked_for == "refresh_reused"


def test_refresh__control_without_the_condition__lets_many_through(
    settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REFRESH_GRACE_SECONDS = 0
    guard = "AND generation <= %(generation)s::int"
    assert guard in sessions.ROTATE
    monkeypatch.setattr(sessions, "ROTATE", sessions.ROTATE.replace(guard, ""))
    session = SessionFactory.create()

    answers = refreshed(session)

    assert sum(isinstance(answer, Opened) for answer in answers) > 1


def test_ban__while_a_sign_in_is_under_way__ends_its_session_too() -> None:
    assert live_after_ban_during_sign_in() == 0


def test_ban__control_without_the_lock__leaves_a_live_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sanctions, "_locked", unlocked(Player))
    assert live_after_ban_during_sign_in() == 1


def live_after_ban_during_sign_in() -> int:
    """How many live sessions a player has whose ban began before a sign-in had committed."""
    identity = IdentityFactory.create()
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            sign_in_again(identity)
            ban = pool.submit(in_thread, lambda: ban_player(identity))
            waits_for_a_lock_or_done(ban.done)
        ban.result(30)
    return Session.objects.filter(player=identity.player, revoked_at__isnull=True).count()


def test_sign_in__while_a_ban_is_under_way__is_refused() -> None:
    with pytest.raises(PlayerBanned):
        sign_in_during_ban()


def test_sign_in__control_without_the_lock__gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = "FOR KEY SHARE OF p"
    assert guard in sign_in.OPEN
    monkeypatch.setattr(sign_in, "OPEN", sign_in.OPEN.replace(guard, ""))
    # The foreign key waits for the lock too, but does not look at the ban.
    assert isinstance(sign_in_during_ban(), Opened)


def sign_in_during_ban() -> Opened:
    identity = IdentityFactory.create()
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            ban_player(identity)
            opened = pool.submit(in_thread, lambda: sign_in_again(identity))
            waits_for_a_lock_or_done(opened.done)
        return opened.result(30)


def test_server_keys__8_at_once__are_two() -> None:
    game = GameFactory.create()

    at_once(8, lambda _: keys.create(game_id=game.pk, kind="secret"))

    assert keys.active(game.pk, ApiKey.Kind.SECRET).count() == 2


def test_server_keys__control_without_the_lock__are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(8)
    count = keys.active

    def counted_together(game_id: Any, kind: str) -> Any:
        found = list(count(game_id, kind))
        meeting.wait(30)
        return count(game_id, kind).filter(pk__in=[key.pk for key in found])

    monkeypatch.setattr(keys, "advisory_lock", lambda *_: None)
    game = GameFactory.create()
    with monkeypatch.context() as patch:
        patch.setattr(keys, "active", counted_together)
        at_once(8, lambda _: keys.create(game_id=game.pk, kind="secret"))

    assert keys.active(game.pk, ApiKey.Kind.SECRET).count() > 2


def test_sign_out_everywhere__32_at_once__has_no_deadlock() -> None:
    player = PlayerFactory.create()
    SessionFactory.create_batch(20, player=player)

    ended = at_once(THREADS, lambda _: sessions.revoke_all(player_id=player.pk, reason="test"))

    assert sum(count for count in ended if isinstance(count, int)) == 20
    assert all(isinstance(count, int) for count in ended), ended


def sign_in_again(identity: Identity) -> Opened:
    return sign_in.with_device(
        game_id=identity.game_id,
        device_id=identity.subject,
        device_secret=SECRET,
        create=False,
        client=Client(),
    )


def ban_player(identity: Identity) -> None:
    sanctions.impose(
        game_id=identity.game_id,
        player_id=identity.player_id,
        kind="suspension",
        reason="Spam",
        author="test",
        ends_at=timezone.now() + timedelta(days=1),
    )


def unlocked(model: type[Model]) -> Callable[..., Any]:
    """What `_locked` would be without its lock."""
    return lambda game_id, pk: model._default_manager.get(pk=pk)


def in_thread(act: Callable[[], Any]) -> Any:
    try:
        return act()
    finally:
        connection.close()


def waits_for_a_lock_or_done(is_done: Callable[[], bool]) -> None:
    """Until another connection waits for a lock of this one, or its work is done."""
    pause = threading.Event()
    for _ in range(1_000):
        with connection.cursor() as cursor:
            # Not pg_stat_activity: within a transaction that shows one moment for ever.
            cursor.execute(
                """SELECT count(*) FROM pg_locks
                   WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"""
            )
            (waiting,) = cursor.fetchone()
        if waiting or is_done():
            return
        pause.wait(0.01)
    raise AssertionError("Nothing waited, and nothing was done")
