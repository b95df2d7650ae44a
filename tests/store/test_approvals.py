"""Grants by staff: given at once, or asked for and decided by a second person."""

from datetime import timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Player, StaffUser
from config.api.problems import NotFound
from config.db.ids import uuid7
from store.errors import BalanceLimit, RequestDecided, SecondPersonNeeded
from store.models import Grant, GrantRequest, GrantThreshold
from store.services import approvals
from store.tasks import tidy
from tests.factories.accounts import PlayerFactory, StaffUserFactory
from tests.factories.store import ItemFactory
from tests.store.conftest import Shop, balance_of, stack_of
from tests.store.test_admin import grant_page

pytestmark = pytest.mark.django_db


@pytest.fixture
def support() -> StaffUser:
    return StaffUserFactory.create(role=StaffUser.Role.SUPPORT)


@pytest.fixture
def boss() -> StaffUser:
    return StaffUserFactory.create(role=StaffUser.Role.ADMIN)


@pytest.fixture(autouse=True)
def thresholds(shop: Shop) -> None:
    GrantThreshold.objects.create(game=shop.game, currency=shop.gems, amount=100)
    GrantThreshold.objects.create(game=shop.game, item=shop.koi, amount=0)


def give(player: Player, requester: StaffUser, **options: Any) -> Grant | GrantRequest:
    given: dict[str, Any] = {
        "currencies": {},
        "items": {},
        "reason": "sorry",
        "token": uuid7(),
    } | options
    return approvals.give(player=player, requester=requester, **given)


def ask(player: Player, requester: StaffUser, **options: Any) -> GrantRequest:
    asked = give(player, requester, **({"currencies": {"gems": 101}} | options))
    assert isinstance(asked, GrantRequest)
    return asked


@pytest.mark.parametrize(
    ("currencies", "items", "waits"),
    [
        ({"gems": 100}, {}, False),
        ({"gems": 101}, {}, True),
        ({"petals": 500}, {}, False),
        ({}, {"koi": 1}, True),
        ({}, {"seeds": 5}, False),
        ({"gems": 1}, {"koi": 1}, True),
    ],
)
def test_give__by_amount__given_or_asked(
    player: Player,
    support: StaffUser,
    currencies: dict[str, int],
    items: dict[str, int],
    waits: bool,
) -> None:
    outcome = give(player, support, currencies=currencies, items=items)
    assert isinstance(outcome, GrantRequest) is waits
    assert Grant.objects.count() == (0 if waits else 1)


@pytest.mark.parametrize("threshold", ["gems", "pack"])
def test_give__bundle__counts_with_what_is_in_it(
    player: Player, shop: Shop, support: StaffUser, threshold: str
) -> None:
    pack = ItemFactory(
        game=shop.game, key="pack", kind="bundle", contents={"currencies": {"gems": 60}}
    )
    if threshold == "pack":
        GrantThreshold.objects.update_or_create(
            currency=shop.gems, defaults={"amount": 1_000, "game": shop.game}
        )
        GrantThreshold.objects.create(game=shop.game, item=pack, amount=1)
    assert isinstance(give(player, support, items={"pack": 1}), Grant)
    assert balance_of(player.pk, "gems") == (0, 60)
    assert isinstance(give(player, support, items={"pack": 2}), GrantRequest)


def test_give__in_small_parts_by_several_people__asked_once_they_add_up(
    player: Player, shop: Shop, support: StaffUser, boss: StaffUser
) -> None:
    assert isinstance(give(player, support, currencies={"gems": 60}), Grant)
    assert isinstance(give(player, boss, currencies={"gems": 40}), Grant)
    asked = ask(player, support, currencies={"gems": 1})
    assert isinstance(give(PlayerFactory(game=shop.game), support, currencies={"gems": 60}), Grant)

    # What two people agreed on does not count, nor what was given the day before.
    approvals.approve(request_id=asked.pk, decider=boss)
    small = Grant.objects.filter(currencies__gems__in=(60, 40))
    assert small.update(created_at=timezone.now() - timedelta(hours=25)) == 3
    assert isinstance(give(player, support, currencies={"gems": 100}), Grant)


def test_give__same_form_twice__once(player: Player, support: StaffUser) -> None:
    token = uuid7()
    for amount in (90, 101):
        first = give(player, support, currencies={"gems": amount}, token=token)
        again = give(player, support, currencies={"gems": amount}, token=token)
        assert first.pk == again.pk
        token = uuid7()
    assert (Grant.objects.count(), GrantRequest.objects.count()) == (1, 1)


def test_give__unknown_player__not_found(player: Player, support: StaffUser) -> None:
    with pytest.raises(NotFound):
        give(Player(pk=uuid7(), game_id=player.game_id), support, currencies={"gems": 1})


def test_approve__by_another__given_in_the_requesters_name(
    player: Player, support: StaffUser, boss: StaffUser
) -> None:
    asked = ask(player, support, items={"koi": 2})
    decided = approvals.approve(request_id=asked.pk, decider=boss)

    assert (decided.state, decided.decider) == ("given", boss)
    grant = Grant.objects.get()
    assert decided.grant_id == grant.pk
    assert (grant.source, grant.actor, grant.reason) == ("staff", support.username, "sorry")
    assert balance_of(player.pk, "gems") == (0, 101)
    assert stack_of(player.pk, "koi") == 2
    with pytest.raises(RequestDecided):
        approvals.approve(request_id=asked.pk, decider=boss)
    assert Grant.objects.count() == 1


def test_approve__own_request__refused_also_by_the_database(
    player: Player, boss: StaffUser
) -> None:
    asked = ask(player, boss)
    with pytest.raises(SecondPersonNeeded):
        approvals.approve(request_id=asked.pk, decider=boss)
    with pytest.raises(SecondPersonNeeded):
        approvals.refuse(request_id=asked.pk, decider=boss, reason="no")
    with pytest.raises(IntegrityError, match="second_person"), transaction.atomic():
        GrantRequest.objects.update(state="refused", decider=boss)
    assert not Grant.objects.exists()


def test_approve__does_not_fit__request_still_waits(
    player: Player, shop: Shop, support: StaffUser, boss: StaffUser
) -> None:
    GrantThreshold.objects.create(game=shop.game, currency=shop.petals, amount=0)
    asked = ask(player, support, currencies={"petals": 5_000})
    with pytest.raises(BalanceLimit):
        approvals.approve(request_id=asked.pk, decider=boss)
    asked.refresh_from_db()
    assert (asked.state, asked.decider) == ("waiting", None)


def test_refuse__says_why_and_gives_nothing(
    player: Player, support: StaffUser, boss: StaffUser
) -> None:
    asked = ask(player, support)
    decided = approvals.refuse(request_id=asked.pk, decider=boss, reason="too much")
    assert (decided.state, decided.decision) == ("refused", "too much")
    with pytest.raises(RequestDecided):
        approvals.approve(request_id=asked.pk, decider=boss)
    with pytest.raises(NotFound):
        approvals.approve(request_id=uuid7(), decider=boss)
    assert not Grant.objects.exists()


def test_expired__nobody_decides_any_more(
    player: Player, support: StaffUser, boss: StaffUser
) -> None:
    asked, fresh = ask(player, support), ask(player, support)
    assert approvals.waiting() == 2
    GrantRequest.objects.filter(pk=asked.pk).update(expires_at=timezone.now())
    with pytest.raises(RequestDecided):
        approvals.approve(request_id=asked.pk, decider=boss)
    assert approvals.waiting() == 1

    tidy()
    asked.refresh_from_db()
    fresh.refresh_from_db()
    assert (asked.state, fresh.state) == ("expired", "waiting")
    assert fresh.expires_at - fresh.created_at == timedelta(days=7)


# The back office


def client_of(user: StaffUser) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_admin__large_grant__asked_decided_by_an_admin_and_in_the_audit_log(
    player: Player, support: StaffUser, boss: StaffUser
) -> None:
    answers = grant_page(client_of(support), player, currency="gems", amount="500")
    assert [answer.status_code for answer in answers] == [302, 302]
    asked = GrantRequest.objects.get()
    assert not Grant.objects.exists()
    entry = LogEntry.objects.get(changes__has_key="grant_asked")
    assert entry.changes["grant_asked"] == ["", "500 gems"]

    page = client_of(boss).get(reverse("admin:store_grantrequest_changelist"))
    assert "1 waiting" in page.content.decode()
    url = reverse("admin:store_grantrequest_approve", args=[asked.pk])
    assert client_of(boss).get(url).status_code == 200
    assert not Grant.objects.exists(), "a link changes nothing"
    assert client_of(boss).post(url).status_code == 302
    assert Grant.objects.get().currencies == {"gems": 500}
    entry = LogEntry.objects.get(changes__has_key="state")
    assert (entry.changes["state"], entry.actor) == (["waiting", "given"], boss)

    again = client_of(boss).post(url)
    assert "given already" in again.content.decode()
    assert Grant.objects.count() == 1


def test_admin__refusal__with_a_reason(player: Player, support: StaffUser, boss: StaffUser) -> None:
    asked = ask(player, support)
    url = reverse("admin:store_grantrequest_refuse", args=[asked.pk])
    assert client_of(boss).post(url, {"reason": ""}).status_code == 200
    assert client_of(boss).post(url, {"reason": "too much"}).status_code == 302
    asked.refresh_from_db()
    assert (asked.state, asked.decision) == ("refused", "too much")


def test_admin__own_request_or_other_role__may_not_decide(
    player: Player, support: StaffUser, boss: StaffUser
) -> None:
    mine = ask(player, boss)
    url = reverse("admin:store_grantrequest_approve", args=[mine.pk])
    assert "Somebody else has to decide" in client_of(boss).post(url).content.decode()
    for role in (StaffUser.Role.SUPPORT, StaffUser.Role.DESIGNER, StaffUser.Role.ANALYST):
        other = StaffUserFactory.create(role=role)
        assert client_of(other).post(url).status_code == 403
    assert not Grant.objects.exists()


def test_admin__threshold__one_of_currency_and_item_of_the_game(
    shop: Shop, support: StaffUser, boss: StaffUser
) -> None:
    url = reverse("admin:store_grantthreshold_add")
    common = {"game": str(shop.game.pk), "amount": "5"}
    for fields in (
        {},
        {"currency": str(shop.petals.pk), "item": str(shop.seeds.pk)},
    ):
        assert client_of(boss).post(url, common | fields).status_code == 200
    answer = client_of(boss).post(url, common | {"currency": str(shop.petals.pk)})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert LogEntry.objects.get_for_model(GrantThreshold).filter(actor=boss).exists()
    assert client_of(support).post(url, common).status_code == 403


@pytest.mark.parametrize("count", [1, 20])
def test_admin__requests__queries_do_not_grow(
    shop: Shop,
    support: StaffUser,
    boss: StaffUser,
    count: int,
    django_assert_max_num_queries: Any,
) -> None:
    for _ in range(count):
        ask(PlayerFactory(game=shop.game), support)
    client = client_of(boss)
    with django_assert_max_num_queries(13):
        client.get(reverse("admin:store_grantrequest_changelist"))
