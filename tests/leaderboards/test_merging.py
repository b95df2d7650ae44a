"""What leaderboards bring to a merge: entries of the seasons that run, and the way back."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Merge, Player
from accounts.services import merging
from config.api.parsing import INT64_MAX, INT64_MIN
from leaderboards import index, ranking, selectors
from leaderboards.boards import BoardDefinition
from leaderboards.models import Entry, Season, Submission
from leaderboards.order import split, unpack
from leaderboards.services import entries, ranks, seasons
from leaderboards.services import merging as part
from tests.factories.accounts import PlayerFactory
from tests.factories.leaderboards import board_of, submit
from tests.factories.merging import merge, token_for, undo
from tests.fixtures.api import assert_problem, server_client_of
from tests.leaderboards.conftest import sign_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def survivor(game: Any) -> Player:
    return PlayerFactory(game=game)


@pytest.fixture
def absorbed(game: Any) -> Player:
    return PlayerFactory(game=game)


def entry_of(board: BoardDefinition, player: Player) -> Entry:
    return Entry.objects.get(season_id=seasons.current(board).id, player=player)


def score_of(board: BoardDefinition, player: Player) -> int | None:
    """The player's ranked score."""
    rows = Entry.objects.filter(season_id=seasons.current(board).id, player=player, state="ranked")
    return rows.values_list("score", flat=True).first()


def indexed(board: BoardDefinition) -> list[tuple[Any, int]]:
    """(player, order key) as the rank index has them."""
    found = index.page(seasons.current(board).id, start=None, backward=False, limit=100)
    assert found is not None
    members = map(unpack, split(found.members))
    return [(member.player_id, member.order_key) for member in members]


def told(made: Merge) -> Any:
    return made.outcome["merged"]["leaderboards"]["scores"]


def undone(made: Merge) -> Any:
    return undo(made).outcome["undone"]["leaderboards"]


def settle(made: Merge) -> None:
    merging._settle(made.pk)


def late(board: BoardDefinition, absorbed: Player, score: int) -> None:
    """A score whose statement had found its player before the merge."""
    merged_into = Player.objects.get(pk=absorbed.pk).merged_into_id
    Player.objects.filter(pk=absorbed.pk).update(merged_into=None)
    submit(board, absorbed.pk, score)
    Player.objects.filter(pk=absorbed.pk).update(merged_into=merged_into)


@pytest.mark.parametrize(
    ("keep", "sort", "mine", "theirs", "merged"),
    [
        ("best", "desc", 5, 9, 9),
        ("best", "desc", 9, 5, 9),
        ("best", "asc", 5, 9, 5),
        ("best", "asc", 9, 5, 5),
        ("last", "desc", 9, 5, 5),
        ("sum", "desc", 9, 5, 14),
        ("sum", "asc", -9, 5, -4),
        ("sum", "desc", INT64_MAX, 5, INT64_MAX),
        ("sum", "desc", INT64_MIN, -5, INT64_MIN),
    ],
)
def test_entries__become_one_as_the_board_keeps_scores(
    game: Any,
    survivor: Player,
    absorbed: Player,
    keep: str,
    sort: str,
    mine: int,
    theirs: int,
    merged: int,
) -> None:
    board = board_of(game, key="harvest", keep=keep, sort=sort)
    submit(board, survivor.pk, mine, metadata={"of": "mine"})
    submit(board, absorbed.pk, theirs, metadata={"of": "theirs"})
    made = merge(survivor, absorbed)
    assert (score_of(board, survivor), score_of(board, absorbed)) == (merged, None)
    assert told(made) == {"harvest": merged}
    assert indexed(board) == [(survivor.pk, entry_of(board, survivor).order_key)]
    season = seasons.current(board).id
    assert selectors.entry_own(board, season, survivor.pk).rank == 1


def test_entry__that_wins_keeps_its_time_and_metadata(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9, metadata={"of": "theirs"})
    submit(board, survivor.pk, 5, metadata={"of": "mine"})
    before = entry_of(board, absorbed)
    merge(survivor, absorbed)
    after = entry_of(board, survivor)
    assert (after.achieved_at, after.metadata) == (before.achieved_at, {"of": "theirs"})
    assert (after.previous_score, after.version) == (5, 2)
    assert entry_of(board, absorbed).state == "removed"


def test_equal_scores__keep_the_earlier(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9)
    submit(board, survivor.pk, 9)
    merge(survivor, absorbed)
    assert entry_of(board, survivor).achieved_at == entry_of(board, absorbed).achieved_at


def test_entry__of_the_other_alone_comes_over_whole(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9, metadata={"level": 4})
    merge(survivor, absorbed)
    after = entry_of(board, survivor)
    assert (after.score, after.metadata, after.previous_score) == (9, {"level": 4}, None)
    assert after.achieved_at == entry_of(board, absorbed).achieved_at


def test_entry__that_was_removed_begins_anew(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    season = seasons.current(board).id
    submit(board, survivor.pk, 50)
    entries.entry_remove(
        game_id=survivor.game_id, season_id=season, player_id=survivor.pk, author="test"
    )
    submit(board, absorbed.pk, 9)
    made = merge(survivor, absorbed)
    assert score_of(board, survivor) == 9
    undo(made)
    assert entry_of(board, survivor).state == "removed"


def test_hidden_entry_of_the_survivor__takes_the_better_score_and_stays_hidden(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    season = seasons.current(board).id
    submit(board, survivor.pk, 5)
    submit(board, absorbed.pk, 9)
    entries.entry_hide(
        game_id=survivor.game_id, season_id=season, player_id=survivor.pk, author="", reason="r"
    )
    merge(survivor, absorbed)
    assert (entry_of(board, survivor).score, entry_of(board, survivor).state) == (9, "hidden")
    assert indexed(board) == []


@pytest.mark.parametrize("state", ["hidden", "removed"])
def test_entry_of_the_other_that_staff_took_off__is_left_alone(
    board: BoardDefinition, survivor: Player, absorbed: Player, state: str
) -> None:
    season = seasons.current(board).id
    submit(board, absorbed.pk, 9)
    change: Any = entries.entry_hide if state == "hidden" else entries.entry_remove
    change(game_id=survivor.game_id, season_id=season, player_id=absorbed.pk, author="", reason="r")
    made = merge(survivor, absorbed)
    assert told(made) == {}
    assert not Entry.objects.filter(player=survivor).exists()
    undo(made)
    assert entry_of(board, absorbed).state == state


def test_testers__are_merged_and_stay_off_the_board(game: Any, board: BoardDefinition) -> None:
    survivor, absorbed = PlayerFactory.create_batch(2, game=game, is_tester=True)
    submit(board, absorbed.pk, 9)
    assert told(merge(survivor, absorbed)) == {}
    assert indexed(board) == []


def test_seasons_that_have_ended__stay_as_they_are(
    game: Any, survivor: Player, absorbed: Player
) -> None:
    board = board_of(game, reset="0 0 * * *")
    submit(board, absorbed.pk, 9)
    season = seasons.current(board)
    Season.objects.filter(pk=season.id).update(ends_at=timezone.now() - timedelta(minutes=1))
    assert told(merge(survivor, absorbed)) == {}
    assert Entry.objects.get().state == "ranked"


def test_log__says_what_the_merge_has_done(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, survivor.pk, 5)
    submit(board, absorbed.pk, 9)
    made = merge(survivor, absorbed)
    lines = Submission.objects.filter(author="merge").order_by("verdict")
    assert [(line.verdict, line.player_id, line.score, line.reason) for line in lines] == [
        ("accepted", survivor.pk, 9, f"merge {made.pk}"),
        ("removed", absorbed.pk, 9, f"merge {made.pk}"),
    ]


def test_index__that_was_away_is_repaired_from_the_log(
    board: BoardDefinition, survivor: Player, absorbed: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(board, absorbed.pk, 9)
    monkeypatch.setattr(ranking, "bring_in", lambda *_: None)
    merge(survivor, absorbed)
    assert indexed(board) == [(absorbed.pk, ~9)]
    ranks.reconcile()
    assert indexed(board) == [(survivor.pk, ~9)]


def test_preview__changes_neither_entries_nor_the_index(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9)
    assert told(merge(survivor, absorbed, preview=True)) == {"harvest": 9}
    assert score_of(board, absorbed) == 9
    assert indexed(board) == [(absorbed.pk, ~9)]


def test_over_http__what_each_side_holds_and_what_becomes_of_it(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9)
    client = sign_in(survivor)
    body = {"merge_token": token_for(survivor, absorbed)}
    answer = client.post("/v1/players/me/merges", body | {"preview": True}).json()
    assert answer["this"]["holds"]["leaderboards"] == {"scores": {}}
    assert answer["other"]["holds"]["leaderboards"] == {"scores": {"harvest": 9}}
    assert answer["outcome"]["leaderboards"] == {"scores": {"harvest": 9}}
    answer = client.post("/v1/players/me/merges", body)
    assert answer.status_code == 201, answer.content
    own = client.get("/v1/leaderboards/harvest/entries/me").json()
    assert (own["rank"], own["score"], own["total"]) == (1, 9, 1)


@pytest.mark.parametrize(("keep", "merged"), [("best", 9), ("last", 7), ("sum", 21)])
def test_settle__brings_over_what_came_in_since(
    game: Any, survivor: Player, absorbed: Player, keep: str, merged: int
) -> None:
    board = board_of(game, keep=keep)
    submit(board, survivor.pk, 5)
    submit(board, absorbed.pk, 9)
    made = merge(survivor, absorbed)
    late(board, absorbed, 7)
    assert score_of(board, absorbed) == 7
    settle(made)
    assert (score_of(board, survivor), score_of(board, absorbed)) == (merged, None)
    made.refresh_from_db()
    before = (entry_of(board, survivor).version, made.journal["leaderboards"])
    with transaction.atomic():
        again = part.settle(merging._locked_merge(made.pk)[1], before[1])
    assert (entry_of(board, survivor).version, again) == before
    undo(made)
    assert (score_of(board, survivor), score_of(board, absorbed)) == (5, 7)


def test_settle__also_what_came_in_before_its_season_ended(
    game: Any, survivor: Player, absorbed: Player
) -> None:
    board = board_of(game, reset="0 0 * * *")
    season = seasons.current(board)
    made = merge(survivor, absorbed)
    late(board, absorbed, 7)
    Season.objects.filter(pk=season.id).update(ends_at=timezone.now())
    settle(made)
    assert Entry.objects.get(player=survivor).score == 7


def test_settle__after_the_survivor_went_on__a_sum_loses_nothing(
    game: Any, survivor: Player, absorbed: Player
) -> None:
    board = board_of(game, keep="sum")
    submit(board, survivor.pk, 1)
    submit(board, absorbed.pk, 20)
    made = merge(survivor, absorbed)
    submit(board, survivor.pk, 300)
    late(board, absorbed, 4000)
    settle(made)
    assert score_of(board, survivor) == 4321
    undo(made)
    assert score_of(board, survivor) == 301


def test_settle__after_staff_removed_the_entry__an_undo_knows_what_was_added_since(
    game: Any, survivor: Player, absorbed: Player
) -> None:
    board = board_of(game, keep="sum")
    submit(board, absorbed.pk, 20)
    made = merge(survivor, absorbed)
    entries.entry_remove(
        game_id=game.pk,
        season_id=seasons.current(board).id,
        player_id=survivor.pk,
        author="test",
    )
    late(board, absorbed, 4000)
    settle(made)
    assert score_of(board, survivor) == 4000
    submit(board, survivor.pk, 1)
    undo(made)
    assert (score_of(board, survivor), score_of(board, absorbed)) == (1, 4000)


@pytest.mark.parametrize("keep", ["best", "last", "sum"])
@pytest.mark.parametrize("own", [None, 5])
def test_undo__unchanged_entries_are_as_before(
    game: Any, survivor: Player, absorbed: Player, keep: str, own: int | None
) -> None:
    board = board_of(game, key="harvest", keep=keep)
    if own is not None:
        submit(board, survivor.pk, own, metadata={"of": "mine"})
    submit(board, absorbed.pk, 9)
    before = indexed(board)
    made = merge(survivor, absorbed)
    assert undone(made) == {"scores": ["harvest"], "stays": []}
    assert (score_of(board, survivor), score_of(board, absorbed)) == (own, 9)
    assert indexed(board) == before
    ranks.rebuild(seasons.current(board).id)
    assert indexed(board) == before


@pytest.mark.parametrize(
    ("keep", "left", "stays"),
    [("best", 50, ["harvest"]), ("last", 50, ["harvest"]), ("sum", 55, [])],
)
def test_undo__entry_that_was_changed_since__only_from_a_sum_goes_what_was_added(
    game: Any, survivor: Player, absorbed: Player, keep: str, left: int, stays: list[str]
) -> None:
    board = board_of(game, key="harvest", keep=keep)
    submit(board, survivor.pk, 5)
    submit(board, absorbed.pk, 9)
    made = merge(survivor, absorbed)
    submit(board, survivor.pk, 50)
    assert undone(made)["stays"] == stays
    assert (score_of(board, survivor), score_of(board, absorbed)) == (left, 9)


def test_undo__entry_that_was_removed_since__stays_removed(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9)
    made = merge(survivor, absorbed)
    entries.entry_remove(
        game_id=survivor.game_id,
        season_id=seasons.current(board).id,
        player_id=survivor.pk,
        author="test",
    )
    undo(made)
    assert (score_of(board, survivor), score_of(board, absorbed)) == (None, 9)


@pytest.mark.parametrize("keep", ["best", "last", "sum"])
def test_undo__of_a_season_that_has_ended_since__stays(
    game: Any, survivor: Player, absorbed: Player, keep: str
) -> None:
    ended = board_of(game, key="harvest", keep=keep, reset="0 0 * * *")
    runs = board_of(game, key="flowers", keep=keep)
    for board in (ended, runs):
        submit(board, survivor.pk, 5)
        submit(board, absorbed.pk, 9)
    season = Season.objects.filter(pk=seasons.current(ended).id)
    made = merge(survivor, absorbed)
    season.update(ends_at=timezone.now())
    before = list(Entry.objects.filter(season__in=season).order_by("player_id").values())

    assert undone(made) == {"scores": ["flowers"], "stays": ["harvest"]}

    assert list(Entry.objects.filter(season__in=season).order_by("player_id").values()) == before
    assert (score_of(runs, survivor), score_of(runs, absorbed)) == (5, 9)


def test_undo__absorbed_player_has_become_a_tester__is_on_no_board(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9)
    made = merge(survivor, absorbed)
    Player.objects.filter(pk=absorbed.pk).update(is_tester=True)
    undo(made)
    assert entry_of(board, absorbed).state == "tester"
    assert indexed(board) == []


def test_merge_settle_and_undo__statements_do_not_grow_with_boards(game: Any) -> None:
    boards = [board_of(game) for _ in range(20)]
    counts = []
    for many in (1, 20):
        survivor, absorbed = PlayerFactory.create_batch(2, game=game)
        for board in boards[:many]:
            submit(board, survivor.pk, 5)
            submit(board, absorbed.pk, 9)
        merge(survivor, absorbed, preview=True)
        with CaptureQueriesContext(connection) as merged:
            made = merge(survivor, absorbed)
        with CaptureQueriesContext(connection) as settled:
            settle(made)
        with CaptureQueriesContext(connection) as given_back:
            undo(made)
        counts.append((len(merged), len(settled), len(given_back)))
    assert counts[0] == counts[1]


def test_server__names_a_merged_player__409_with_who_it_is_now(
    board: BoardDefinition, survivor: Player, absorbed: Player
) -> None:
    submit(board, absorbed.pk, 9)
    merge(survivor, absorbed)
    server = server_client_of(survivor.game)
    for answer in (
        server.post(
            f"/v1/leaderboards/{board.key}/scores", {"score": 1, "player": str(absorbed.pk)}
        ),
        server.delete(f"/v1/leaderboards/{board.key}/entries/{absorbed.pk}"),
    ):
        problem = assert_problem(answer, 409, "player_merged")
        assert problem["merged_into"] == str(survivor.pk)
    assert score_of(board, absorbed) is None
