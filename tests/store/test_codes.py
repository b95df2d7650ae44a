"""Promotion codes: their form, their making, and redeeming them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Game, Player
from analytics.models import Event
from config.api.problems import NotFound
from config.db.ids import uuid7
from store import codes
from store.errors import CodeTaken, InvalidCodes
from store.models import Campaign, CampaignUse, Code, CodeBatch, CodeKey, Grant, Redemption
from store.services import campaigns, code_keys, redemptions
from tests.factories.accounts import PlayerFactory, StaffUserFactory
from tests.factories.store import CampaignFactory, codes_of, give
from tests.fixtures.api import PlayerClient, assert_problem, new_player
from tests.fixtures.faults import redis_down
from tests.store.conftest import Shop, balance_of, stack_of

COMMITTED = pytest.mark.django_db(transaction=True)
URL = "/v1/store/redemptions"
KEY = b"k" * 32


# The form of a code


@given(st.integers(0, 2**32 - 1), st.uuids())
def test_make__any_number__16_characters_that_are_accepted_however_typed(
    number: int, batch: UUID
) -> None:
    code = codes.make(KEY, batch, number)
    assert len(code) == 16
    assert set(code) <= set(codes.ALPHABET)
    assert codes.make(KEY, batch, number) == code
    assert codes.folded(code) == code
    typed = codes.shown(code).lower().replace("0", "o").replace("1", "l")
    assert codes.folded(f" {typed} ") == code


@given(st.integers(0, 1_000), st.integers(0, 15), st.sampled_from(codes.ALPHABET))
def test_folded__one_wrong_character__is_no_code(number: int, at: int, other: str) -> None:
    code = codes.make(KEY, UUID(int=7), number)
    wrong = code[:at] + other + code[at + 1 :]
    assert codes.folded(wrong) == (code if wrong == code else None)


@given(st.integers(0, 1_000), st.integers(0, 15), st.integers(0, 15))
def test_folded__two_characters_that_changed_places__is_no_code(
    number: int, one: int, two: int
) -> None:
    code = codes.make(KEY, UUID(int=7), number)
    letters = list(code)
    letters[one], letters[two] = letters[two], letters[one]
    wrong = "".join(letters)
    assert codes.folded(wrong) == (code if wrong == code else None)


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("spring-2026", "SPR1NG2026"),
        ("ＳＰＲＩＮＧ", "SPR1NG"),
        ("abc", None),
        ("a" * 17, None),
        ("a" * 16, None),
        ("U" * 16, None),
        ("Grüße", None),
        ("", None),
        ("ab;cd", None),
    ],
)
def test_folded__words(typed: str, form: str | None) -> None:
    assert codes.folded(typed) == form


def test_make__other_key_or_batch_or_number__another_code() -> None:
    made = {
        codes.make(KEY, UUID(int=1), 0),
        codes.make(b"x" * 32, UUID(int=1), 0),
        codes.make(KEY, UUID(int=2), 0),
        codes.make(KEY, UUID(int=1), 1),
    }
    assert len(made) == 4


# Keys


@pytest.mark.django_db
def test_key__secret_changed__opens_with_the_fallback_and_is_sealed_again(
    game: Game, settings: Any
) -> None:
    key = code_keys.key_of(game.pk)
    assert len(key) == 32
    assert code_keys.seal_again() == 0, "there is nothing to do without fallbacks"
    assert key.hex() not in CodeKey.objects.get().sealed

    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-secret" * 5
    assert code_keys.key_of(game.pk) == key
    assert code_keys.seal_again() == 1
    settings.SECRET_KEY_FALLBACKS = []
    assert code_keys.key_of(game.pk) == key


# Making


@pytest.fixture
def campaign(shop: Shop) -> Campaign:
    return CampaignFactory(
        game=shop.game,
        key="spring",
        contents={"currencies": {"gems": 10}, "items": {"seeds": 2}},
    )


@pytest.mark.django_db
def test_batch__more_than_a_chunk__all_made_once_and_exported_again_and_again(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "CHUNK", 7)
    first = codes_of(campaign, 20)
    batch = CodeBatch.objects.get()
    assert (batch.made, batch.state) == (20, "done")
    assert len(set(first)) == Code.objects.count() == 20
    assert [code for code, _ in campaigns.export(batch=batch)] == first
    stored = [bytes(row) for row in Code.objects.values_list("hash", flat=True)]
    key = code_keys.key_of(campaign.game_id)
    assert sorted(stored) == sorted(
        codes.find_hash(key, code.replace("-", "")) for code in first
    ), "a database that got out has no codes in it"


@COMMITTED
def test_make_due_codes__stopped_in_the_middle__goes_on_where_it_was(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "CHUNK", 5)
    batch = campaigns.order_batch(campaign=campaign, count=12, author=StaffUserFactory.create())
    make, calls = codes.make, 0

    def broken(*args: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise RuntimeError("the worker was killed")
        return make(*args)

    monkeypatch.setattr(codes, "make", broken)
    assert campaigns.make_due_codes() == 5
    batch.refresh_from_db()
    assert (batch.made, batch.state, batch.last_error) == (5, "due", "RuntimeError")
    assert Code.objects.count() == 5

    assert campaigns.make_due_codes() == 0, "it is not due yet"
    CodeBatch.objects.update(next_attempt_at=timezone.now())
    assert campaigns.make_due_codes() == 7
    batch.refresh_from_db()
    assert (batch.made, batch.state, batch.last_error) == (12, "done", "")
    assert set(Code.objects.values_list("number", flat=True)) == set(range(12))


@pytest.mark.django_db
@pytest.mark.parametrize("count", [0, -1, 1_001])
def test_order_batch__too_many_or_none__refused(
    campaign: Campaign, count: int, settings: Any
) -> None:
    settings.STORE_MAX_CODES = 1_000
    with pytest.raises(InvalidCodes):
        campaigns.order_batch(campaign=campaign, count=count, author=StaffUserFactory.create())


@pytest.mark.django_db
def test_set_words__changed__old_ones_are_void_and_come_back(campaign: Campaign) -> None:
    campaigns.set_words(campaign=campaign, words=["SPRING2026", "LOTUS"])
    assert campaigns.words_of(campaign=campaign) == ["SPRING2026", "LOTUS"]
    campaigns.set_words(campaign=campaign, words=["LOTUS"])
    assert campaigns.words_of(campaign=campaign) == ["LOTUS"]
    campaigns.set_words(campaign=campaign, words=["SPRING2026"])
    assert campaigns.words_of(campaign=campaign) == ["SPRING2026"]
    assert Code.objects.count() == 2


@pytest.mark.django_db
def test_set_words__of_another_campaign__refused_unless_it_is_another_games(
    campaign: Campaign, other_game: Game
) -> None:
    campaigns.set_words(campaign=campaign, words=["LOTUS"])
    sibling = CampaignFactory(game=campaign.game)
    for word in ("lotus", "L0TUS", "lo-tus"):
        with pytest.raises(CodeTaken), transaction.atomic():
            campaigns.set_words(campaign=sibling, words=[word])
    campaigns.set_words(campaign=CampaignFactory(game=other_game), words=["LOTUS"])


@pytest.mark.django_db
@pytest.mark.parametrize("word", ["abc", "a" * 16, "what?", "a-" * 20])
def test_set_words__no_word__refused(campaign: Campaign, word: str) -> None:
    with pytest.raises(InvalidCodes):
        campaigns.set_words(campaign=campaign, words=[word])


# Redeeming


def redeem(client: PlayerClient, code: str, **headers: str) -> Any:
    return client.post(URL, {"code": code}, **headers)


@COMMITTED
def test_redeem__generated_code__gives_what_the_campaign_holds(
    campaign: Campaign, player_client: PlayerClient
) -> None:
    (code,) = codes_of(campaign, 1)
    answer = redeem(player_client, code.lower())

    assert answer.status_code == 201, answer.content
    body = answer.json()
    assert body["campaign"] == "spring"
    assert body["granted"] == {"currencies": {"gems": 10}, "items": {"seeds": 2}}
    # What the player begins with is there, too.
    assert {row["currency"]: row["balance"] for row in body["balances"]} == {
        "petals": 100,
        "gems": 10,
    }
    assert balance_of(player_client.player_id, "gems") == (0, 10)
    assert stack_of(player_client.player_id, "seeds") == 2
    grant = Grant.objects.get()
    assert str(grant.pk) == body["id"] == str(Redemption.objects.get().pk)
    assert (grant.source, grant.reason, grant.reference) == ("code", "code", "spring")
    names = set(Event.objects.values_list("name", flat=True))
    assert {"redemption", "grant", "currency_source"} <= names
    assert Code.objects.get().state == "used"


@COMMITTED
def test_redeem__again_by_the_same_player__first_outcome_even_when_it_is_over(
    campaign: Campaign, player_client: PlayerClient
) -> None:
    (code,) = codes_of(campaign, 1)
    first = redeem(player_client, code)
    Campaign.objects.update(is_active=False, contents={"currencies": {"gems": 999}})
    second = redeem(player_client, code)

    assert second.status_code == 201
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.json() == first.json()
    assert Grant.objects.count() == 1


@COMMITTED
def test_redeem__idempotency_key__same_answer_and_not_for_another_code(
    campaign: Campaign, player_client: PlayerClient
) -> None:
    one, two = codes_of(campaign, 2)
    first = redeem(player_client, one, idempotency_key="once")
    again = redeem(player_client, one, idempotency_key="once")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    other = redeem(player_client, two, idempotency_key="once")
    assert_problem(other, 422, "idempotency_key_reused")


@COMMITTED
def test_redeem__by_another_player__used(campaign: Campaign, player_client: PlayerClient) -> None:
    (code,) = codes_of(campaign, 1)
    redeem(player_client, code)
    assert_problem(redeem(new_player(campaign.game), code), 409, "code_used")
    assert Grant.objects.count() == 1


@COMMITTED
def test_redeem__word__once_for_each_player(
    campaign: Campaign, player_client: PlayerClient
) -> None:
    campaigns.set_words(campaign=campaign, words=["LOTUS"])
    other = new_player(campaign.game)
    for client in (player_client, other, player_client):
        assert redeem(client, "lotus").status_code == 201
    assert Redemption.objects.count() == Grant.objects.count() == 2


@COMMITTED
@pytest.mark.parametrize(
    ("change", "status", "problem"),
    [
        ({"starts_at": timedelta(hours=1)}, 422, "code_invalid"),
        ({"ends_at": timedelta(hours=-1)}, 409, "code_expired"),
        ({"is_active": False}, 409, "code_expired"),
        ({"countries": ["JP"]}, 409, "not_eligible"),
        ({"new_player_days": 3}, 409, "not_eligible"),
        ({"contents": {"currencies": {"petals": 5_000}}}, 409, "balance_limit"),
        ({"contents": {"items": {"seeds": 500}}}, 409, "stack_limit"),
    ],
)
def test_redeem__not_for_this_player_now__refused_and_left_for_later(
    campaign: Campaign,
    player_client: PlayerClient,
    change: dict[str, Any],
    status: int,
    problem: str,
) -> None:
    (code,) = codes_of(campaign, 1)
    Player.objects.update(created_at=timezone.now() - timedelta(days=4), country="DE")
    values = {
        name: timezone.now() + value if isinstance(value, timedelta) else value
        for name, value in change.items()
    }
    Campaign.objects.update(**values)
    assert_problem(redeem(player_client, code), status, problem)
    assert not Redemption.objects.exists()
    assert Code.objects.get().state == "open"

    Campaign.objects.update(
        starts_at=None,
        ends_at=None,
        is_active=True,
        countries=["DE"],
        new_player_days=5,
        contents={"items": {"seeds": 1}},
    )
    assert redeem(player_client, code).status_code == 201


@COMMITTED
def test_redeem__limits__of_one_player_and_of_all(
    campaign: Campaign, player_client: PlayerClient
) -> None:
    Campaign.objects.update(limit_per_player=2)
    made = codes_of(campaign, 6)
    assert [redeem(player_client, code).status_code for code in made[:3]] == [201, 201, 409]
    # A limit that is introduced counts what was redeemed before.
    Campaign.objects.update(max_redemptions=3)
    other = new_player(campaign.game)
    assert redeem(other, made[2]).status_code == 201
    problem = assert_problem(redeem(other, made[3]), 409, "limit_reached")
    assert problem["left"] == 0
    assert CampaignUse.objects.get().redemptions == 3

    campaign.refresh_from_db()
    campaign.max_redemptions = None
    campaign.save()
    campaigns.forget_count(campaign=campaign)
    assert redeem(other, made[3]).status_code == 201
    Campaign.objects.update(max_redemptions=5)
    third = new_player(campaign.game)
    assert [redeem(third, code).status_code for code in made[4:]] == [201, 409]


@COMMITTED
@pytest.mark.parametrize("code", ["NOSUCHWORD", "x", "????", "ABCD-EFGH-JKMN-PQRS"])
def test_redeem__no_such_code__invalid(shop: Shop, player_client: PlayerClient, code: str) -> None:
    assert_problem(redeem(player_client, code), 422, "code_invalid")


@COMMITTED
def test_redeem__code_of_another_game_or_void__invalid(
    campaign: Campaign, player_client: PlayerClient, other_game: Game
) -> None:
    elsewhere = CampaignFactory(game=other_game, contents={"currencies": {"gems": 1}})
    (code,) = codes_of(elsewhere, 1)
    assert_problem(redeem(player_client, code), 422, "code_invalid")

    mine, other = codes_of(campaign, 2)
    found = campaigns.find(game_id=campaign.game_id, typed=mine)
    assert found is not None
    assert campaigns.void(code_id=found.pk)
    assert not campaigns.void(code_id=found.pk)
    assert_problem(redeem(player_client, mine), 422, "code_invalid")
    assert redeem(player_client, other).status_code == 201
    batch = CodeBatch.objects.get(campaign=campaign)
    assert campaigns.void_batch(batch=batch) == 0
    assert [state for _, state in campaigns.export(batch=batch)] == ["void", "used"]


@pytest.mark.django_db
def test_void_batch__still_being_made__refused(campaign: Campaign) -> None:
    batch = campaigns.order_batch(campaign=campaign, count=3, author=StaffUserFactory.create())
    with pytest.raises(InvalidCodes):
        campaigns.void_batch(batch=batch)


@pytest.mark.django_db
def test_redemption__of_a_generated_code_twice__the_database_refuses(campaign: Campaign) -> None:
    codes_of(campaign, 1)
    row = {"game": campaign.game, "campaign": campaign, "code": Code.objects.get()}
    common = {**row, "is_single": True, "created_at": timezone.now()}
    Redemption.objects.create(id=uuid7(), player=PlayerFactory(game=campaign.game), **common)
    with pytest.raises(IntegrityError, match="store_redemption_single"), transaction.atomic():
        Redemption.objects.create(id=uuid7(), player=PlayerFactory(game=campaign.game), **common)


@pytest.mark.django_db
def test_redeem__player_who_is_gone__not_found(campaign: Campaign) -> None:
    (code,) = codes_of(campaign, 1)
    with pytest.raises(NotFound):
        redemptions.redeem(
            game_id=campaign.game_id, player_id=uuid7(), typed=code, address="192.0.2.1"
        )


# Guessing


@COMMITTED
@pytest.mark.parametrize("redis_is_up", [True, False])
def test_redeem__guessing__stopped_also_for_a_right_code(
    campaign: Campaign, player_client: PlayerClient, settings: Any, redis_is_up: bool
) -> None:
    (code,) = codes_of(campaign, 1)
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"code_misses": (3, 600)}

    def guess() -> None:
        answers = [redeem(player_client, f"GUESS{number}").status_code for number in range(4)]
        assert answers == [422, 422, 422, 429]
        refused = redeem(player_client, code)
        assert_problem(refused, 429, "rate_limited")
        assert int(refused.headers["Retry-After"]) > 0

    if redis_is_up:
        guess()
    else:
        with redis_down():
            guess()
    assert not Redemption.objects.exists()


@COMMITTED
@pytest.mark.parametrize("redis_is_up", [True, False])
def test_redeem__codes_that_exist__do_not_count_as_guesses(
    campaign: Campaign, player_client: PlayerClient, settings: Any, redis_is_up: bool
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"code_misses": (1, 600)}
    made = codes_of(campaign, 3)

    def use() -> None:
        assert [redeem(player_client, code).status_code for code in made] == [201, 409, 409]
        assert [redeem(player_client, made[0]).status_code for _ in range(3)] == [201] * 3

    if redis_is_up:
        use()
    else:
        with redis_down():
            use()


@COMMITTED
def test_redeem__guessing_by_many_players_of_one_address__stopped(
    campaign: Campaign, player_client: PlayerClient, settings: Any
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"code_misses_address": (2, 600)}
    clients = [player_client, new_player(campaign.game), new_player(campaign.game)]
    answers = [redeem(client, "GUESS").status_code for client in clients]
    assert answers == [422, 422, 429]


@COMMITTED
def test_redeem__queries__as_many_for_a_player_with_many_redemptions(
    campaign: Campaign, player_client: PlayerClient, settings: Any
) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (1_000, 60))
    Campaign.objects.update(limit_per_player=100, contents={"currencies": {"gems": 1}})
    made = codes_of(campaign, 22)
    give(player_client.player_id, {"gems": 1})
    counts = []
    for code in made:
        with CaptureQueriesContext(connection) as queries:
            assert redeem(player_client, code).status_code == 201
        counts.append(len(queries))
    assert counts[1] == counts[-1]
