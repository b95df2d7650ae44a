"""What progress brings to a merge: copies of saves, stats and achievements, and the way back."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Merge, Player
from accounts.services import merging
from config.api.parsing import INT64_MAX
from config.api.preconditions import Precondition
from progress import selectors
from progress.models import AchievementState, Save, SaveVersion, StatValue
from progress.services import achievements, save_history, saves, stats
from progress.services import merging as part
from progress.services.save_rows import Writer
from store.services import ledger
from tests.factories.accounts import PlayerFactory
from tests.factories.analytics import client_of
from tests.factories.merging import merge, token_for, undo
from tests.factories.progress import make_achievement, make_stat
from tests.factories.store import CurrencyFactory
from tests.fixtures.api import ApiClient, assert_problem, server_client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def survivor(game: Any) -> Player:
    return PlayerFactory(game=game)


@pytest.fixture
def absorbed(game: Any) -> Player:
    return PlayerFactory(game=game)


def write(player: Player, body: bytes, slot: str = "garden", **options: Any) -> int:
    """Make or replace a slot; the version."""
    there = Save.objects.filter(player=player, slot=slot, deleted_at__isnull=True).exists()
    state = saves.put(
        writer=Writer(game_id=player.game_id, player_id=player.pk, trusted=True),
        slot=slot,
        body=body,
        content_type=options.pop("content_type", "application/json"),
        precondition=Precondition(any_version=True) if there else Precondition(must_not_exist=True),
        access=options.pop("access", "private"),
    )
    return state.version


def delete(player: Player, slot: str = "garden") -> None:
    save_history.remove(
        writer=Writer(game_id=player.game_id, player_id=player.pk, trusted=True),
        slot=slot,
        precondition=Precondition(any_version=True),
    )


def read(player: Player, slot: str = "garden") -> bytes | None:
    return selectors.save_read(game_id=player.game_id, player_id=player.pk, slot=slot).body


def slots(player: Player) -> list[str]:
    rows = selectors.saves(game_id=player.game_id, player_id=player.pk)
    return [row["slot"] for row in rows]


def versions(player: Player, slot: str = "garden") -> list[tuple[int, bytes, int | None]]:
    rows = SaveVersion.objects.filter(save_row__player=player, save_row__slot=slot)
    return [(row.version, bytes(row.body), row.restored_from) for row in rows.order_by("version")]


def report(player: Player, **values: int) -> None:
    stats.update(
        game_id=player.game_id, player_id=player.pk, updates=list(values.items()), trusted=True
    )


def values_of(player: Player) -> dict[str, int]:
    return dict(StatValue.objects.filter(player=player).values_list("stat__key", "value"))


def state_of(player: Player, key: str) -> AchievementState | None:
    return AchievementState.objects.filter(player=player, achievement__key=key).first()


def is_unlocked(player: Player, key: str) -> bool:
    state = state_of(player, key)
    return state is not None and state.unlocked_at is not None


def told(made: Merge) -> Any:
    return made.outcome["merged"]["progress"]


def undone(made: Merge) -> Any:
    return undo(made).outcome["undone"]["progress"]


def settle(made: Merge) -> None:
    Merge.objects.filter(pk=made.pk).update(next_attempt_at=timezone.now())
    merging._settle(made.pk)


def late(act: Callable[[], object], absorbed: Player) -> None:
    """What a request does that had passed all checks before the merge."""
    merged_into = Player.objects.get(pk=absorbed.pk).merged_into_id
    Player.objects.filter(pk=absorbed.pk).update(merged_into=None)
    act()
    Player.objects.filter(pk=absorbed.pk).update(merged_into=merged_into)


# Saves


def test_slot_of_the_other_alone__comes_over_as_it_was(survivor: Player, absorbed: Player) -> None:
    write(absorbed, b"one", content_type="application/octet-stream")
    write(absorbed, b"two", content_type="application/octet-stream")
    made = merge(survivor, absorbed)
    mine, theirs = (Save.objects.get(player=player) for player in (survivor, absorbed))
    same = ("access", "content_type", "device", "size", "updated_at")
    assert [getattr(mine, name) for name in same] == [getattr(theirs, name) for name in same]
    assert (mine.version, theirs.version) == (1, 2)
    assert read(survivor) == read(absorbed) == b"two"
    assert told(made) == {
        "saves": {"garden": "added"},
        "stays": {},
        "stats": 0,
        "achievements": 0,
    }


def test_slot_that_the_survivor_had_deleted__counts_on(survivor: Player, absorbed: Player) -> None:
    write(survivor, b"old")
    delete(survivor)
    write(absorbed, b"new", access="public")
    made = merge(survivor, absorbed)
    assert versions(survivor) == [(1, b"old", None), (2, b"new", None)]
    assert Save.objects.get(player=survivor).access == "public"
    assert undone(made)["saves"] == ["garden"]
    assert slots(survivor) == []


def test_slot_that_the_other_had_deleted__stays_away(survivor: Player, absorbed: Player) -> None:
    write(absorbed, b"gone")
    delete(absorbed)
    assert told(merge(survivor, absorbed))["saves"] == {}
    assert slots(survivor) == []


def test_same_content__nothing_is_written(survivor: Player, absorbed: Player) -> None:
    for player in (survivor, absorbed):
        write(player, b"same")
    assert told(merge(survivor, absorbed))["saves"] == {"garden": "same"}
    assert versions(survivor) == [(1, b"same", None)]


@pytest.mark.parametrize("choices", [{}, {"saves": {"garden": "other"}}])
def test_other_content__the_later_one_goes_on_unless_chosen(
    survivor: Player, absorbed: Player, choices: dict[str, Any]
) -> None:
    first, second = (absorbed, survivor) if choices else (survivor, absorbed)
    write(first, b"first")
    write(second, b"second")
    theirs = read(absorbed)
    assert told(merge(survivor, absorbed, choices))["saves"] == {"garden": "other"}
    assert read(survivor) == theirs
    assert len(versions(survivor)) == 2


@pytest.mark.parametrize("choices", [{}, {"saves": {"garden": "this"}}])
def test_own_content_goes_on__the_other_is_among_the_versions(
    survivor: Player, absorbed: Player, choices: dict[str, Any]
) -> None:
    first, second = (survivor, absorbed) if choices else (absorbed, survivor)
    write(first, b"mine" if choices else b"theirs")
    write(second, b"theirs" if choices else b"mine")
    before = Save.objects.get(player=survivor).updated_at
    assert told(merge(survivor, absorbed, choices))["saves"] == {"garden": "this"}
    assert versions(survivor) == [(1, b"mine", None), (2, b"theirs", None), (3, b"mine", 1)]
    assert Save.objects.get(player=survivor).updated_at == before


def test_versions__only_one_is_kept__both_survive_the_merge(
    survivor: Player, absorbed: Player, settings: Any
) -> None:
    settings.SAVE_KEPT_VERSIONS = 1
    write(survivor, b"mine")
    write(absorbed, b"theirs")
    merge(survivor, absorbed, {"saves": {"garden": "this"}})
    assert [body for _, body, _ in versions(survivor)] == [b"theirs", b"mine"]


def test_slots_that_both_keep_otherwise__stay_with_the_other(
    survivor: Player, absorbed: Player
) -> None:
    """Or a player would write what only the server writes, by way of a guest."""
    write(survivor, b"true", access="server")
    write(absorbed, b"forged", access="private")
    made = merge(survivor, absorbed, {"saves": {"garden": "other"}})
    assert told(made)["stays"] == {"garden": "save_access_fixed"}
    assert read(survivor) == b"true"


def test_server_slot__comes_over_as_such(survivor: Player, absorbed: Player) -> None:
    write(absorbed, b"season", "season", access="server")
    merge(survivor, absorbed)
    assert Save.objects.get(player=survivor).access == "server"


def test_more_slots_than_there_may_be__the_latest_come_over(
    survivor: Player, absorbed: Player, settings: Any
) -> None:
    settings.SAVE_MAX_SLOTS = 2
    write(survivor, b"1", "a")
    write(absorbed, b"2", "b")
    write(absorbed, b"3", "c")
    made = merge(survivor, absorbed)
    assert slots(survivor) == ["a", "c"]
    assert told(made)["stays"] == {"b": "save_slots_full"}
    assert slots(absorbed) == ["b", "c"]


def test_more_bytes_than_there_may_be__what_does_not_fit_stays(
    survivor: Player, absorbed: Player, settings: Any
) -> None:
    write(survivor, b"x" * 60, "a")
    write(absorbed, b"x" * 41, "b")
    write(absorbed, b"y" * 101, "a")
    settings.SAVE_MAX_TOTAL_BYTES = 100
    made = merge(survivor, absorbed, {"saves": {"a": "other"}})
    assert told(made)["stays"] == {"a": "save_space_full", "b": "save_space_full"}


def test_preview__says_what_becomes_of_it_and_changes_nothing(
    survivor: Player, absorbed: Player
) -> None:
    make_stat(survivor.game, "flowers")
    write(absorbed, b"two")
    report(absorbed, flowers=2)
    assert told(merge(survivor, absorbed, preview=True))["saves"] == {"garden": "added"}
    assert slots(survivor) == []
    assert values_of(survivor) == {}


def test_choice_for_a_slot_that_nobody_has__400(survivor: Player, absorbed: Player) -> None:
    client = client_of(survivor)
    body = {"merge_token": token_for(survivor, absorbed), "saves": {"a/b~": "this"}}
    problem = assert_problem(client.post("/v1/players/me/merges", body), 400, "validation_failed")
    assert problem["errors"][0]["pointer"] == "/saves/a~1b~0"


def test_over_http__what_each_side_holds_and_what_becomes_of_it(
    survivor: Player, absorbed: Player
) -> None:
    make_stat(survivor.game, "flowers")
    achievement = make_achievement(survivor.game, "tea")
    report(absorbed, flowers=2)
    write(absorbed, b"two")
    achievements.report(
        game_id=absorbed.game_id, player_id=absorbed.pk, key=achievement.key, progress=1
    )
    client = client_of(survivor)
    body = {"merge_token": token_for(survivor, absorbed)}
    answer = client.post("/v1/players/me/merges", body | {"preview": True})
    assert answer.status_code == 200, answer.content
    held = answer.json()["other"]["holds"]["progress"]
    row = held["saves"][0]
    assert held == {"saves": [row], "stats": {"flowers": 2}, "achievements": 1}
    assert (row["slot"], row["version"], row["size"], row["device"]) == ("garden", 1, 3, "server")
    assert answer.json()["this"]["holds"]["progress"] == {
        "saves": [],
        "stats": {},
        "achievements": 0,
    }
    answer = client.post("/v1/players/me/merges", body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["outcome"]["progress"] == {
        "saves": {"garden": "added"},
        "stays": {},
        "stats": 1,
        "achievements": 1,
    }
    assert client.get("/v1/saves/garden").content == b"two"


# Stats and achievements


def test_stats__combine_as_their_aggregation_says(survivor: Player, absorbed: Player) -> None:
    for aggregation in ("sum", "max", "min", "last"):
        make_stat(survivor.game, aggregation, aggregation)
    report(absorbed, sum=5, max=5, min=5, last=5)
    report(survivor, sum=3, max=3, min=3, last=3)
    merge(survivor, absorbed)
    assert values_of(survivor) == {"sum": 8, "max": 5, "min": 3, "last": 3}
    assert values_of(absorbed) == {"sum": 5, "max": 5, "min": 5, "last": 5}


def test_stats__the_later_of_the_last(survivor: Player, absorbed: Player) -> None:
    make_stat(survivor.game, "mood", "last")
    report(survivor, mood=1)
    report(absorbed, mood=2)
    merge(survivor, absorbed)
    assert values_of(survivor) == {"mood": 2}


def test_stats__stay_within_their_bounds_and_64_bits(survivor: Player, absorbed: Player) -> None:
    make_stat(survivor.game, "petals", maximum=10)
    make_stat(survivor.game, "dew")
    for player in (survivor, absorbed):
        report(player, petals=8, dew=INT64_MAX - 1)
    made = merge(survivor, absorbed)
    assert values_of(survivor) == {"petals": 10, "dew": INT64_MAX}
    undo(made)
    assert values_of(survivor) == {"petals": 8, "dew": INT64_MAX - 1}


def test_stats__taken_out_of_the_game__come_along(survivor: Player, absorbed: Player) -> None:
    stat = make_stat(survivor.game, "old")
    report(absorbed, old=4)
    stat.is_active = False
    stat.save()
    merge(survivor, absorbed)
    assert values_of(survivor) == {"old": 4}


def test_achievements__union_with_the_earlier_unlock_and_no_second_reward(
    survivor: Player, absorbed: Player
) -> None:
    game = survivor.game
    CurrencyFactory(game=game, key="petals")
    for key in ("theirs", "both", "mine", "begun"):
        make_achievement(game, key, reward={"currencies": {"petals": 5}}, threshold=3)

    def reach(player: Player, key: str, progress: int = 3) -> None:
        achievements.report(game_id=game.pk, player_id=player.pk, key=key, progress=progress)

    for player, key in ((absorbed, "both"), (survivor, "both"), (absorbed, "theirs")):
        reach(player, key)
    reach(survivor, "mine")
    reach(absorbed, "begun", 2)
    reach(survivor, "begun", 1)
    made = merge(survivor, absorbed)
    assert told(made)["achievements"] == 1
    settle(made)
    for key in ("theirs", "both"):
        own, other = state_of(survivor, key), state_of(absorbed, key)
        assert own is not None
        assert other is not None
        assert (own.unlocked_at, own.progress) == (other.unlocked_at, 3)
    assert is_unlocked(survivor, "mine")
    assert not is_unlocked(absorbed, "mine")
    begun = state_of(survivor, "begun")
    assert begun is not None
    assert (begun.progress, begun.unlocked_at) == (2, None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM store_grant WHERE reason = 'achievement'")
        assert cursor.fetchone() == (4,)


def test_merged_stats_reach_an_achievement__unlocked_with_its_reward_when_settled(
    survivor: Player, absorbed: Player
) -> None:
    CurrencyFactory(game=survivor.game, key="petals")
    stat = make_stat(survivor.game, "flowers")
    make_achievement(survivor.game, "ten", stat, 10, reward={"currencies": {"petals": 5}})
    for player in (survivor, absorbed):
        report(player, flowers=6)
    made = merge(survivor, absorbed)
    assert not is_unlocked(survivor, "ten")
    settle(made)
    assert is_unlocked(survivor, "ten")
    assert [held.earned for held in ledger.wallet(survivor.pk)] == [5]
    assert undone(made)["stays"]["achievements"] == ["ten"]


def test_survivor_who_was_merged_before_settling__the_next_one_unlocks(
    survivor: Player, absorbed: Player
) -> None:
    CurrencyFactory(game=survivor.game, key="petals")
    stat = make_stat(survivor.game, "flowers")
    make_achievement(survivor.game, "ten", stat, 10, reward={"currencies": {"petals": 5}})
    for player in (survivor, absorbed):
        report(player, flowers=6)
    last = PlayerFactory(game=survivor.game)
    first = merge(survivor, absorbed)
    second = merge(last, Player.objects.get(pk=survivor.pk))
    settle(first)
    settle(second)
    assert values_of(last) == {"flowers": 12}
    assert is_unlocked(last, "ten")
    assert not is_unlocked(survivor, "ten")


# What was on its way


def test_settle__brings_over_what_came_in_since(survivor: Player, absorbed: Player) -> None:
    game = survivor.game
    for aggregation in ("sum", "max", "last"):
        make_stat(game, aggregation, aggregation)
    make_achievement(game, "tea", threshold=5)
    write(absorbed, b"before")
    report(absorbed, sum=5, max=5, last=5)
    made = merge(survivor, absorbed)

    def act() -> None:
        write(absorbed, b"late")
        write(absorbed, b"new", "diary")
        report(absorbed, sum=2, max=9, last=1)
        achievements.report(game_id=game.pk, player_id=absorbed.pk, key="tea", progress=4)

    late(act, absorbed)
    report(survivor, sum=1)
    settle(made)
    assert read(survivor) == b"late"
    assert read(survivor, "diary") == b"new"
    assert values_of(survivor) == {"sum": 8, "max": 9, "last": 1}
    state = state_of(survivor, "tea")
    assert state is not None
    assert state.progress == 4
    assert undone(made) == {
        "saves": ["diary", "garden"],
        "stats": ["last", "max", "sum"],
        "achievements": [],
        "stays": {"saves": [], "stats": [], "achievements": []},
    }
    assert (slots(survivor), values_of(survivor)) == ([], {"sum": 1})
    assert state_of(survivor, "tea") is None


def test_settle__what_the_survivor_wrote_since_goes_on(survivor: Player, absorbed: Player) -> None:
    write(absorbed, b"theirs")
    write(survivor, b"mine")
    made = merge(survivor, absorbed, {"saves": {"garden": "other"}})
    late(lambda: write(absorbed, b"late"), absorbed)
    write(survivor, b"since")
    settle(made)
    assert read(survivor) == b"since"
    assert b"late" in [body for _, body, _ in versions(survivor)]
    assert undone(made)["saves"] == []
    assert read(survivor) == b"since"


def test_settle__a_choice_of_the_own_content_holds(survivor: Player, absorbed: Player) -> None:
    write(survivor, b"mine")
    write(absorbed, b"theirs")
    made = merge(survivor, absorbed, {"saves": {"garden": "this"}})
    late(lambda: write(absorbed, b"late"), absorbed)
    settle(made)
    assert read(survivor) == b"mine"
    assert b"late" in [body for _, body, _ in versions(survivor)]


def test_settle__twice__changes_nothing(survivor: Player, absorbed: Player) -> None:
    make_stat(survivor.game, "flowers")
    make_achievement(survivor.game, "tea")
    for player in (survivor, absorbed):
        write(player, f"of {player.pk}".encode())
        report(player, flowers=3)
    made = merge(survivor, absorbed)
    settle(made)
    made.refresh_from_db()
    before = (versions(survivor), values_of(survivor), made.journal["progress"])
    pair = merging._locked_merge(made.pk)[1]
    again = part.settle(pair, made.journal["progress"])
    assert (versions(survivor), values_of(survivor), again) == before


# The way back


def test_undo__what_was_not_changed_since_is_as_before(survivor: Player, absorbed: Player) -> None:
    game = survivor.game
    for aggregation in ("sum", "max", "last"):
        make_stat(game, aggregation, aggregation)
    stat = make_stat(game, "flowers")
    make_achievement(game, "tea")
    make_achievement(game, "bloom", stat)
    write(survivor, b"mine")
    report(survivor, sum=1, max=1, last=1)
    write(absorbed, b"theirs")
    write(absorbed, b"diary", "diary")
    report(absorbed, sum=2, max=2, last=2, flowers=2)
    achievements.report(game_id=game.pk, player_id=absorbed.pk, key="tea", progress=1)
    made = merge(survivor, absorbed)
    assert read(survivor) == b"theirs"
    settle(made)
    assert is_unlocked(survivor, "tea")
    assert undone(made) == {
        "saves": ["diary", "garden"],
        "stats": ["flowers", "last", "max", "sum"],
        "achievements": ["bloom", "tea"],
        "stays": {"saves": [], "stats": [], "achievements": []},
    }
    assert (slots(survivor), read(survivor)) == (["garden"], b"mine")
    assert values_of(survivor) == {"sum": 1, "max": 1, "last": 1}
    assert not AchievementState.objects.filter(player=survivor).exists()
    assert (read(absorbed), values_of(absorbed)) == (
        b"theirs",
        {"sum": 2, "max": 2, "last": 2, "flowers": 2},
    )
    assert is_unlocked(absorbed, "tea")


def test_undo__what_was_changed_since_stays_and_sums_lose_what_was_added(
    survivor: Player, absorbed: Player
) -> None:
    game = survivor.game
    make_stat(game, "sum", minimum=0)
    make_stat(game, "spent", minimum=0)
    make_stat(game, "max", "max")
    stat = make_stat(game, "flowers")
    make_achievement(game, "bloom", stat, 2)
    make_achievement(game, "tea", threshold=9)
    write(absorbed, b"theirs")
    report(absorbed, sum=5, spent=5, max=5, flowers=2)
    achievements.report(game_id=game.pk, player_id=absorbed.pk, key="tea", progress=4)
    made = merge(survivor, absorbed)
    write(survivor, b"since")
    report(survivor, sum=10, spent=-4, max=3, flowers=2)
    achievements.report(game_id=game.pk, player_id=survivor.pk, key="tea", progress=5)
    assert undone(made) == {
        "saves": [],
        "stats": ["flowers", "spent", "sum"],
        "achievements": [],
        "stays": {"saves": ["garden"], "stats": ["max"], "achievements": ["bloom"]},
    }
    assert read(survivor) == b"since"
    assert values_of(survivor) == {"sum": 10, "spent": 0, "max": 5, "flowers": 2}


def test_undo__a_slot_deleted_since_stays_deleted(survivor: Player, absorbed: Player) -> None:
    write(absorbed, b"theirs")
    made = merge(survivor, absorbed)
    delete(survivor)
    assert undone(made)["saves"] == []
    assert slots(survivor) == []


# Bounds


def test_merge_and_undo__statements_do_not_grow_with_stats_and_achievements(game: Any) -> None:
    counts = []
    defined = [(make_stat(game, f"s{n}"), make_achievement(game, f"a{n}")) for n in range(20)]
    for many in (1, 20):
        survivor, absorbed = PlayerFactory.create_batch(2, game=game)
        for player in (survivor, absorbed):
            report(player, **{stat.key: 3 for stat, _ in defined[:many]})
        for _, achievement in defined[:many]:
            achievements.report(
                game_id=game.pk, player_id=absorbed.pk, key=achievement.key, progress=1
            )
        made = merge(survivor, absorbed, preview=True)
        with CaptureQueriesContext(
            connection,
        ) as merged:
            made = merge(survivor, absorbed)
        with CaptureQueriesContext(connection) as settled:
            settle(made)
        with CaptureQueriesContext(connection) as given_back:
            undo(made)
        counts.append((len(merged), len(settled), len(given_back)))
    assert counts[0] == counts[1]


def test_merge__a_slot_costs_two_statements_at_most(game: Any) -> None:
    def statements(many: int) -> int:
        survivor, absorbed = PlayerFactory.create_batch(2, game=game)
        for player in (absorbed, survivor):
            for number in range(many):
                write(player, f"{player.pk}".encode(), f"slot{number}")
        merge(survivor, absorbed, preview=True)
        with CaptureQueriesContext(connection) as captured:
            merge(survivor, absorbed)
        return len(captured)

    assert statements(9) - statements(1) == 16


# Whoever comes later


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "saves/garden", {"beds": 1}),
        ("GET", "saves/garden", None),
        ("POST", "stats", {"updates": [{"stat": "flowers", "value": 1}]}),
    ],
)
def test_server__names_a_merged_player__409_with_who_it_is_now(
    survivor: Player, absorbed: Player, method: str, path: str, body: Any
) -> None:
    make_stat(survivor.game, "flowers")
    write(absorbed, b"theirs")
    merge(survivor, absorbed)
    server: ApiClient = server_client_of(survivor.game)
    headers = {"if_match": "*"} if method == "PUT" else {}
    answer = server.call(method, f"/v1/players/{absorbed.pk}/{path}", body, **headers)
    problem = assert_problem(answer, 409, "player_merged")
    assert problem["merged_into"] == str(survivor.pk)
