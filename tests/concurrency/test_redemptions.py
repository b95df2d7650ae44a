"""Races for promotion codes and for decisions about grants, with their controls."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet

from accounts.models import Game, Player, StaffUser
from config.db.ids import uuid7
from store.catalogue import catalogue
from store.errors import CodeUsed, LimitReached, RequestDecided
from store.models import (
    Campaign,
    CampaignUse,
    Code,
    CodeBatch,
    Currency,
    Grant,
    GrantRequest,
    GrantThreshold,
    Redemption,
)
from store.services import approvals, campaigns, code_keys, redemptions, verification
from tests.concurrency.test_ledger import outcomes
from tests.factories.accounts import PlayerFactory, StaffUserFactory
from tests.factories.store import CampaignFactory, CurrencyFactory, codes_of
from tests.threads import Meeting, at_once

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 32
LIMIT = 5


@pytest.fixture(autouse=True)
def far_limits(settings: Any) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (100_000, 60))


@pytest.fixture
def campaign(game: Game) -> Campaign:
    CurrencyFactory(game=game, key="gems")
    catalogue(game.pk)
    return CampaignFactory(game=game, contents={"currencies": {"gems": 1}})


@pytest.fixture
def players(campaign: Campaign) -> list[Player]:
    return [PlayerFactory(game=campaign.game) for _ in range(THREADS)]


def redeem(player: Player, code: str) -> redemptions.Redeemed:
    return redemptions.redeem(
        game_id=player.game_id, player_id=player.pk, typed=code, address="192.0.2.1"
    )


@contextmanager
def without_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is locked, the database lets a code be used twice, and all threads have checked
    whether they may redeem before any does."""
    with monkeypatch.context() as patched, connection.cursor() as cursor:
        patched.setattr(QuerySet, "select_for_update", lambda rows, **options: rows)
        patched.setattr(redemptions, "_check", Meeting(THREADS).after(redemptions._check))
        cursor.execute("DROP INDEX store_redemption_single")
        try:
            yield
        finally:
            Redemption.objects.all().delete()
            cursor.execute(
                "CREATE UNIQUE INDEX store_redemption_single ON store_redemption (code_id) "
                "WHERE is_single"
            )


def test_generated_code__32_players__one_redeems_it(
    campaign: Campaign, players: list[Player]
) -> None:
    (code,) = codes_of(campaign, 1)
    results = at_once(THREADS, lambda number: redeem(players[number], code))

    assert outcomes(results) == (1, {CodeUsed})
    assert Redemption.objects.count() == Grant.objects.count() == 1
    assert list(verification.verify()) == []


def test_generated_code__control_without_locks__several_redeem_it(
    campaign: Campaign, players: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = codes_of(campaign, 1)
    with without_locks(monkeypatch):
        at_once(THREADS, lambda number: redeem(players[number], code))
        assert Grant.objects.count() == THREADS


def test_generated_code__one_player_32_times__one_grant_and_one_answer(
    campaign: Campaign, players: list[Player]
) -> None:
    (code,) = codes_of(campaign, 1)
    results: list[Any] = at_once(THREADS, lambda number: redeem(players[0], code))

    assert len({result.id for result in results}) == 1
    assert [result.replayed for result in results].count(False) == 1
    assert Grant.objects.count() == 1


def test_word__limit_of_the_campaign__exact(campaign: Campaign, players: list[Player]) -> None:
    campaigns.set_words(campaign=campaign, words=["LOTUS"])
    Campaign.objects.update(max_redemptions=LIMIT)
    results = at_once(THREADS, lambda number: redeem(players[number], "LOTUS"))

    assert outcomes(results) == (LIMIT, {LimitReached})
    assert Redemption.objects.count() == CampaignUse.objects.get().redemptions == LIMIT


def test_word__limit_of_the_campaign__control_without_locks__more_redeem_it(
    campaign: Campaign, players: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    campaigns.set_words(campaign=campaign, words=["LOTUS"])
    Campaign.objects.update(max_redemptions=LIMIT)
    # While there is no count yet, its primary key guards it.
    CampaignUse.objects.create(campaign=campaign, redemptions=0)
    with without_locks(monkeypatch):
        at_once(THREADS, lambda number: redeem(players[number], "LOTUS"))
        assert Redemption.objects.count() == THREADS


def test_many_codes__one_player__limit_of_the_player_is_exact(
    campaign: Campaign, players: list[Player]
) -> None:
    Campaign.objects.update(limit_per_player=LIMIT)
    made = codes_of(campaign, THREADS)
    results = at_once(THREADS, lambda number: redeem(players[0], made[number]))

    assert outcomes(results) == (LIMIT, {LimitReached})
    assert Code.objects.filter(state="used").count() == LIMIT


def test_many_codes__control_without_locks__one_player_redeems_more(
    campaign: Campaign, players: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = codes_of(campaign, THREADS)
    with without_locks(monkeypatch):
        at_once(THREADS, lambda number: redeem(players[0], made[number]))
        assert Redemption.objects.count() == THREADS


def test_codes_and_limits_crosswise__no_deadlock(campaign: Campaign, players: list[Player]) -> None:
    """Two players, two codes and a limit, taken in all orders by sixteen threads."""
    Campaign.objects.update(max_redemptions=100, limit_per_player=10)
    made = codes_of(campaign, 2)
    results = at_once(16, lambda number: redeem(players[number % 2], made[number // 2 % 2]))

    redeemed, refusals = outcomes(results)
    assert refusals <= {CodeUsed}
    assert Redemption.objects.count() == 2
    assert redeemed == 16 - sum(isinstance(result, CodeUsed) for result in results)


def test_key_of__first_asked_by_many_at_once__one_key(game: Game) -> None:
    keys = at_once(16, lambda number: code_keys.key_of(game.pk))
    assert len({bytes(key) for key in keys if isinstance(key, bytes)}) == 1
    assert outcomes(keys) == (16, set())


def test_make_due_codes__several_workers__each_code_once(
    campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "CHUNK", 10)
    batch = campaigns.order_batch(campaign=campaign, count=95, author=StaffUserFactory.create())

    def work(number: int) -> int:
        made = 0
        while step := campaigns.make_chunk(batch.pk):
            made += step
        return made

    assert sum(at_once(4, work)) == 95  # type: ignore[arg-type] # one that failed makes it fail
    assert Code.objects.count() == 95
    assert CodeBatch.objects.get().state == "done"


# Grants that a second person approves


@pytest.fixture
def request_(campaign: Campaign, players: list[Player]) -> GrantRequest:
    gems = Currency.objects.get(key="gems")
    GrantThreshold.objects.create(game=campaign.game, currency=gems, amount=10)
    asked = ask(players[0], 50, StaffUserFactory.create())
    assert isinstance(asked, GrantRequest)
    return asked


def ask(player: Player, amount: int, requester: StaffUser) -> Grant | GrantRequest:
    return approvals.give(
        player=player,
        currencies={"gems": amount},
        items={},
        reason="sorry",
        requester=requester,
        token=uuid7(),
    )


def test_approve__16_times_at_once__given_once(request_: GrantRequest) -> None:
    deciders = [StaffUserFactory.create(role="admin") for _ in range(16)]
    results = at_once(
        16, lambda number: approvals.approve(request_id=request_.pk, decider=deciders[number])
    )
    assert outcomes(results) == (1, {RequestDecided})
    assert Grant.objects.count() == 1


def test_approve_and_refuse__at_once__one_of_both(request_: GrantRequest) -> None:
    one, two = StaffUserFactory.create(role="admin"), StaffUserFactory.create(role="admin")

    def decide(number: int) -> GrantRequest:
        if number % 2:
            return approvals.approve(request_id=request_.pk, decider=one)
        return approvals.refuse(request_id=request_.pk, decider=two, reason="no")

    results = at_once(8, decide)
    assert outcomes(results) == (1, {RequestDecided})
    request_.refresh_from_db()
    assert Grant.objects.count() == (1 if request_.state == "given" else 0)


def test_give__small_grants_at_once__together_not_above_the_threshold(
    request_: GrantRequest, players: list[Player]
) -> None:
    requester = StaffUserFactory.create()
    results = at_once(16, lambda number: ask(players[1], 4, requester))

    assert outcomes(results) == (16, set())
    assert Grant.objects.filter(player=players[1]).count() == 2
    assert GrantRequest.objects.filter(player=players[1]).count() == 14


def test_give__control_without_locks__above_the_threshold(
    request_: GrantRequest, players: list[Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    requester = StaffUserFactory.create()
    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "select_for_update", lambda rows, **options: rows)
        meeting = Meeting(16)
        patched.setattr(approvals, "_needs_approval", meeting.after(approvals._needs_approval))
        at_once(16, lambda number: ask(players[1], 4, requester))
    assert Grant.objects.filter(player=players[1]).count() == 16
