"""Races of progress on the real database, each with a control that shows the failure."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from config.api.preconditions import Precondition
from config.api.problems import VersionConflict
from progress.errors import SaveSlotsFull
from progress.models import AchievementState, Save, SaveVersion, StatValue
from progress.services import achievements, save_rows, saves, stats
from progress.services.save_rows import SaveState, Writer
from store.models import Currency
from tests.factories.accounts import GameFactory, PlayerFactory
from tests.factories.progress import make_achievement, make_stat
from tests.threads import Meeting, at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32


@pytest.fixture
def player() -> Any:
    return PlayerFactory.create(game=GameFactory.create())


def write(player: Any, body: bytes, seen: int | None, slot: str = "main") -> SaveState:
    return saves.put(
        writer=Writer(game_id=player.game_id, player_id=player.pk),
        slot=slot,
        body=body,
        content_type="application/octet-stream",
        precondition=Precondition(match=str(seen)) if seen else Precondition(must_not_exist=True),
    )


def wins(results: list[SaveState | Exception]) -> int:
    for result in results:
        assert isinstance(result, (SaveState, VersionConflict)), result
    return sum(isinstance(result, SaveState) for result in results)


def test_replace__many_devices_saw_one_version__one_wins(player: Any) -> None:
    write(player, b"first", None)
    results = at_once(THREADS, lambda n: write(player, b"device %d" % n, 1))
    assert wins(results) == 1
    winner = next(result for result in results if isinstance(result, SaveState))
    for result in results:
        if isinstance(result, VersionConflict):
            assert result.extra["current"]["sha256"] == winner.sha256.hex()
    assert SaveVersion.objects.count() == 2


def test_replace__control__without_the_version_check_all_overwrite(
    player: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(player, b"first", None)
    unguarded = saves.REPLACE.replace("version = %(version)s::bigint OR", "true OR")
    assert unguarded != saves.REPLACE
    monkeypatch.setattr(saves, "REPLACE", unguarded)
    assert wins(at_once(8, lambda n: write(player, b"device %d" % n, 1))) == 8


def test_create__many_devices__one_makes_the_slot(player: Any) -> None:
    assert wins(at_once(THREADS, lambda n: write(player, b"device %d" % n, None))) == 1
    assert Save.objects.get().version == 1


def test_create__more_slots_than_allowed__the_bound_is_exact(player: Any, settings: Any) -> None:
    settings.SAVE_MAX_SLOTS = 3
    results = at_once(16, lambda n: write(player, b"x", None, f"slot{n}"))
    made = [result for result in results if isinstance(result, SaveState)]
    assert len(made) == Save.objects.count() == 3
    assert all(isinstance(result, (SaveState, SaveSlotsFull)) for result in results)


def test_create__control__without_the_lock_the_bound_is_passed(
    player: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SAVE_MAX_SLOTS = 3
    monkeypatch.setattr(saves, "advisory_lock", lambda *_: None)
    monkeypatch.setattr(saves, "check_slots", Meeting(16).after(save_rows.check_slots))
    at_once(16, lambda n: write(player, b"x", None, f"slot{n}"))
    assert Save.objects.count() == 16


def add(player: Any, times: int = 1) -> None:
    for _ in range(times):
        stats.update(game_id=player.game_id, player_id=player.pk, updates=[("flowers", 1)])


def test_sum__many_reports_at_once__none_is_lost(player: Any) -> None:
    make_stat(player.game, "flowers")
    results = at_once(THREADS, lambda _: add(player, 5))
    assert not [result for result in results if isinstance(result, Exception)]
    assert StatValue.objects.get().value == THREADS * 5


def test_sum__control__without_the_lock_reports_are_lost(
    player: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stat(player.game, "flowers")
    monkeypatch.setattr(stats, "advisory_lock", lambda *_: None)
    monkeypatch.setattr(stats, "_read", Meeting(THREADS).after(stats._read))
    at_once(THREADS, lambda _: add(player, 5))
    assert StatValue.objects.get().value < THREADS * 5


def test_batches__overlapping_in_any_order__no_deadlock(player: Any) -> None:
    keys = ["a", "b", "c"]
    for key in keys:
        make_stat(player.game, key)

    def send(number: int) -> None:
        order = keys[number % 3 :] + keys[: number % 3]
        stats.update(
            game_id=player.game_id, player_id=player.pk, updates=[(key, 1) for key in order]
        )

    results = at_once(THREADS, send)
    assert not [result for result in results if isinstance(result, Exception)]
    assert set(StatValue.objects.values_list("value", flat=True)) == {THREADS}


def unlock_events() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM analytics_event WHERE name = 'achievement_unlocked'")
        return int(cursor.fetchone()[0])


def petals_of(player: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT COALESCE(sum(earned), 0) FROM store_balance WHERE player_id = %s", [player.pk]
        )
        return int(cursor.fetchone()[0])


@pytest.fixture
def rewarded(player: Any) -> Any:
    Currency.objects.create(game=player.game, key="petals", name="Petals")
    stat = make_stat(player.game, "flowers")
    reward = {"currencies": {"petals": 10}}
    make_achievement(player.game, "bloom", stat, threshold=1, reward=reward)
    make_achievement(player.game, "tea", threshold=1, reward=reward)
    return player


def test_unlock__many_reports_at_once__once_with_one_reward(rewarded: Any) -> None:
    results = at_once(THREADS, lambda _: add(rewarded))
    assert not [result for result in results if isinstance(result, Exception)]
    assert AchievementState.objects.filter(unlocked_at__isnull=False).count() == 1
    assert (unlock_events(), petals_of(rewarded)) == (1, 10)


def report_tea(player: Any) -> None:
    achievements.report(game_id=player.game_id, player_id=player.pk, key="tea", progress=1)


def test_unlock__many_progress_reports_at_once__once_with_one_reward(rewarded: Any) -> None:
    results = at_once(THREADS, lambda _: report_tea(rewarded))
    assert not [result for result in results if isinstance(result, Exception)]
    assert (unlock_events(), petals_of(rewarded)) == (1, 10)


def test_unlock__control__without_the_guards_it_happens_again_but_is_paid_once(
    rewarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock and the conditional insert off: many unlocks. The ledger's own key still holds."""
    real = achievements._mark

    def mark_always(player_id: UUID, ids: list[UUID]) -> dict[UUID, Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT statement_timestamp()")
            (now,) = cursor.fetchone()
        real(player_id, ids)
        return dict.fromkeys(ids, now)

    monkeypatch.setattr(achievements, "_mark", mark_always)
    monkeypatch.setattr(stats, "_read", blind(stats._read))
    results = at_once(8, lambda _: add(rewarded))
    assert not [result for result in results if isinstance(result, Exception)]
    assert unlock_events() == 8
    assert petals_of(rewarded) == 10


def blind(read: Any) -> Any:
    """`stats._read` that has never heard of an unlock."""

    def read_values(player_id: UUID, ids: list[UUID]) -> Any:
        current, _, now = read(player_id, ids)
        return current, set(), now

    return read_values
