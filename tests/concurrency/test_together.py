"""What several players do at the same moment is one statement, and still each one's own."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import DataError, OperationalError, connection, transaction
from django.utils import timezone
from psycopg.errors import DeadlockDetected, LockNotAvailable

from accounts import names, selectors
from accounts.errors import InvalidCredentials, PlayerBanned
from accounts.models import Game, Player, Session
from accounts.services import players, sign_in
from accounts.services.opening import Client, Opened, hash_device_secret, session_parameters
from analytics.models import Event
from config.api.problems import NotFound
from config.db.together import Together
from leaderboards.errors import ScoreOutOfBounds
from leaderboards.models import Entry, Submission
from leaderboards.services import scores
from tests.concurrency.gathering import together
from tests.factories.accounts import SECRET, IdentityFactory, PlayerFactory
from tests.factories.leaderboards import board_of, submit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions each statement was for."""
    asked: list[int] = []
    real = Together._at_once

    def count(self: Any, questions: Sequence[Any]) -> Any:
        asked.append(len(questions))
        return real(self, questions)

    monkeypatch.setattr(Together, "_at_once", count)
    return asked


def test_own_players__one_statement__each_sees_their_own(game: Game, statements: list[int]) -> None:
    players = [PlayerFactory.create(game=game) for _ in range(4)]
    stranger = PlayerFactory.create()

    def read(player_id: Any) -> Callable[[], Any]:
        return lambda: selectors.own_player(game_id=game.pk, player_id=player_id)[0]

    found = together(
        selectors._own, [*(read(p.pk) for p in players), read(stranger.pk), read(uuid4())]
    )

    assert found[:4] == [player.pk for player in players]
    assert [type(answer) for answer in found[4:]] == [NotFound, NotFound]
    assert statements == [6]


def newcomer(game: Game, device: str) -> Callable[[], players.Created | None]:
    client = Client(platform="android")
    return lambda: players.create_guest(
        parameters=session_parameters(game.pk, "device", client, timezone.now()),
        device_id=device,
        secret=hash_device_secret(SECRET),
        client=client,
    )


def test_newcomers__one_statement__each_is_made_once(game: Game, statements: list[int]) -> None:
    devices = ["device-1", "device-2", "device-3", "device-2"]

    made = together(players._together, [newcomer(game, device) for device in devices])

    assert sorted(statements) == [1, 3], "a device that comes twice is not in one statement"
    assert [isinstance(each, players.Created) for each in made].count(True) == 3
    assert made.count(None) == 1
    for created in made:
        if isinstance(created, players.Created):
            session = Session.objects.get(pk=created.session_id)
            assert session.player_id == created.player.id
            assert Player.objects.get(pk=session.player_id).display_name
    assert Player.objects.count() == Session.objects.count() == 3
    assert Event.objects.filter(name="player_created").count() == 3
    assert Event.objects.filter(name="session_start").count() == 3


def test_newcomers__of_one_name__only_the_second_gets_another(
    game: Game, statements: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ["Fern", "Fern", "Moss", "Reed"]
    monkeypatch.setattr(names, "guest_name", lambda: named.pop(0))
    monkeypatch.setattr(names, "random_tag", lambda: 7)

    made = together(players._together, [newcomer(game, f"device-{n}") for n in range(3)])

    assert statements[:4] == [3, 1, 1, 1], "who is not to blame is made all the same"
    assert sorted(
        each.player.display_name for each in made if isinstance(each, players.Created)
    ) == [
        "Fern",
        "Moss",
        "Reed",
    ]


def test_sign_ins__one_statement__each_gets_what_is_due(game: Game, statements: list[int]) -> None:
    players = [PlayerFactory.create(game=game) for _ in range(3)]
    players[2].blocked_until = timezone.now() + timedelta(days=1)
    players[2].save()
    for number, player in enumerate(players):
        IdentityFactory.create(
            game=game,
            player=player,
            method="device",
            subject=f"device-{number}",
            secret=hash_device_secret(SECRET),
        )

    def enter(device: str, secret: str = SECRET) -> Callable[[], Opened]:
        return lambda: sign_in.with_device(
            game_id=game.pk,
            device_id=device,
            device_secret=secret,
            create=False,
            client=Client(platform="ios", device=device),
        )

    answers = together(
        sign_in._together,
        [
            enter("device-1"),
            enter("device-0"),
            enter("device-0", "wrong"),
            enter("device-1"),
            enter("device-2"),
            enter("device-9"),
        ],
    )

    opened = [answer for answer in answers if isinstance(answer, Opened)]
    assert [one.player.id for one in opened] == [players[n].pk for n in (1, 0, 1)]
    assert [type(answers[n]) for n in (2, 4, 5)] == [
        InvalidCredentials,
        PlayerBanned,
        InvalidCredentials,
    ]
    assert statements == [6]
    rows = {row.pk: row for row in Session.objects.all()}
    assert set(rows) == {one.session_id for one in opened}
    assert all(rows[one.session_id].player_id == one.player.id for one in opened)
    assert rows[opened[1].session_id].device == "device-0"
    assert Event.objects.filter(name="session_start").count() == 3


@pytest.fixture
def commits() -> Iterator[Callable[[], list[str]]]:
    """How each new session's commit waits for the disk."""
    with connection.cursor() as cursor:
        cursor.execute(
            """CREATE TABLE test_commit (how text);
               CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO test_commit VALUES (current_setting('synchronous_commit'));
               RETURN NULL; END $$;
               CREATE TRIGGER note_commit AFTER INSERT ON accounts_session
               FOR EACH ROW EXECUTE FUNCTION note_commit();
               SET synchronous_commit = on"""
        )

        def found() -> list[str]:
            cursor.execute("DELETE FROM test_commit RETURNING how")
            return [how for (how,) in cursor.fetchall()]

        yield found
        cursor.execute(
            "DROP TABLE test_commit; DROP FUNCTION note_commit CASCADE; RESET synchronous_commit"
        )


def test_commit__only_of_guests_who_sign_in_again__does_not_wait(
    game: Game, commits: Callable[[], list[str]]
) -> None:
    """docs/adr/0080-a-guests-sign-in-does-not-wait-for-the-disk.md"""

    def enter() -> Opened:
        return sign_in.with_device(
            game_id=game.pk,
            device_id="device-1",
            device_secret=SECRET,
            create=True,
            client=Client(),
        )

    enter()
    assert commits() == ["on"], "a new player"
    enter()
    assert commits() == ["off"]
    with transaction.atomic():
        enter()
        assert commits() == ["on"], "the caller's commit is not ours"
    email = {"email": "robin@example.com", "password": "a quiet lake at dawn"}
    sign_in.register(game_id=game.pk, display_name=None, client=Client(), **email)
    sign_in.with_email(game_id=game.pk, client=Client(), **email)
    assert commits() == ["on", "on"]


def test_scores__one_statement_but_for_those_of_one_entry(
    game: Game, statements: list[int]
) -> None:
    """And one that is out of range is the only one that is refused."""
    board = board_of(game, keep="sum")
    players: list[Player] = [PlayerFactory.create(game=game) for _ in range(3)]
    submit(board, players[2].pk, 2**62)
    statements.clear()

    def play(player: Player, score: int) -> Callable[[], scores.Outcome]:
        return lambda: submit(board, player.pk, score)

    answers = together(
        scores._TOGETHER[board.keep, board.sort],
        [
            play(players[0], 5),
            play(players[1], 7),
            play(players[0], 6),
            play(players[2], 2**62),
        ],
    )

    assert isinstance(answers[3], ScoreOutOfBounds)
    kept = dict(Entry.objects.values_list("player_id", "score"))
    assert kept == {players[0].pk: 11, players[1].pk: 7, players[2].pk: 2**62}
    assert sorted(a.score for a in answers[:3] if isinstance(a, scores.Outcome)) in (
        [5, 7, 11],
        [6, 7, 11],
    )
    assert Submission.objects.filter(verdict="accepted").count() == 4
    # Three entries at once, which fails; each by itself; and the second score of the first.
    assert sorted(statements) == [1, 1, 1, 1, 3]


def test_in_a_transaction__each_asks_alone(game: Game, statements: list[int]) -> None:
    player = PlayerFactory.create(game=game)
    board = board_of(game)

    with transaction.atomic():
        submit(board, player.pk, 3)
        transaction.set_rollback(True)
    assert not Entry.objects.exists()
    assert statements == []


def failing(*errors: Exception | None) -> tuple[Together[int, int], list[list[int]]]:
    asked: list[list[int]] = []
    left = list(errors)

    def run(questions: Sequence[int]) -> list[int]:
        asked.append(sorted(questions))
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return list(questions)

    return Together(run), asked


def of_locks(cause: Exception) -> Exception:
    error = OperationalError("locked by somebody else")
    error.__cause__ = cause
    return error


def asking(combiner: Together[int, int], count: int) -> list[Any]:
    return together(combiner, [partial(combiner.ask, n) for n in range(count)])


@pytest.mark.parametrize(
    "error", [DataError("one of them"), of_locks(DeadlockDetected()), of_locks(LockNotAvailable())]
)
def test_one_is_to_blame__each_is_run_by_itself(error: Exception) -> None:
    combiner, asked = failing(error)

    assert asking(combiner, 3) == [0, 1, 2]
    assert sorted(asked) == [[0], [0, 1, 2], [1], [2]]


def test_one_is_to_blame_alone__only_it_fails() -> None:
    combiner, _ = failing(DataError("all"), DataError("this one"))

    answers = asking(combiner, 3)
    assert len([a for a in answers if isinstance(a, DataError)]) == 1


def test_connection_lost__nothing_is_said_twice() -> None:
    """The commit may have happened: who asks again is the client, with its own key."""
    combiner, asked = failing(OperationalError("server closed the connection"))

    answers = asking(combiner, 3)
    assert all(isinstance(answer, OperationalError) for answer in answers)
    assert len(asked) == 1


def test_connection_is_cut_in_the_middle__all_fail_and_the_next_goes_on(game: Game) -> None:
    players = [PlayerFactory.create(game=game) for _ in range(3)]
    board = board_of(game)
    scores_of = scores._TOGETHER[board.keep, board.sort]
    with connection.cursor() as cursor:
        cursor.execute(
            """CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
               $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$;
               CREATE TRIGGER cut BEFORE INSERT ON leaderboards_submission
               FOR EACH ROW EXECUTE FUNCTION cut()"""
        )
    try:
        answers = together(scores_of, [partial(submit, board, player.pk, 3) for player in players])
        assert all(isinstance(answer, OperationalError) for answer in answers)
        assert not Entry.objects.exists()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION cut CASCADE")
    assert submit(board, players[0].pk, 3).rank == 1
