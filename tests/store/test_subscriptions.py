"""Subscriptions over their periods, as a scripted platform tells of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from auditlog.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Player, StaffUser
from accounts.services import game_files
from analytics.models import Event
from config.api.pagination import PageQuery
from store import subscription_selectors, tasks
from store.entitlement import LEEWAY, entitles
from store.models import Order, OwnerConflict, PlatformPurchase
from store.models import Subscription as Row
from store.providers.base import (
    WHOLE,
    Kind,
    Phase,
    RejectedError,
    State,
    Subscription,
    TryAgainError,
)
from store.services import ownership, receipt_figures, subscription_checks, verification
from store.subscription_selectors import entitlements
from tests.factories.store import OfferFactory
from tests.fakes.platform import EPOCH, NAME, Shelf
from tests.fixtures.api import PlayerClient
from tests.store.conftest import balance_of
from tests.store.receipts import other, player, shelf
from tests.store.test_admin import signed_in
from tests.store.test_platform_flows import figure
from tests.store.test_receipts_admin import text_of, url_of

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db
MONTH = timedelta(days=30)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def club(shelf: Shelf) -> Shelf:
    """10 gems a month, and what the club has; a year of it has nothing else."""
    for key, contents in (("club", {"currencies": {"gems": 10}}), ("club_year", {})):
        OfferFactory(
            game=shelf.game,
            key=key,
            contents=contents,
            products={NAME: key},
            entitlement="club",
        )
    return shelf


def said(
    phase: Phase = Phase.ACTIVE, ends: timedelta = MONTH, *, period: int = 1, **more: Any
) -> dict[str, Any]:
    """What a line says of a subscription whose period ends so long from now."""
    now = timezone.now()
    state = Subscription(
        **{
            "phase": phase,
            "expires_at": now + ends,
            "renews": phase is not Phase.CANCELLED,
            "since": EPOCH + period * MONTH,
            **more,
        }
    )
    return {
        "kind": Kind.SUBSCRIPTION,
        "product": "club",
        "original_id": "p1",
        "subscription": state,
    }


def listed(client: PlayerClient) -> list[dict[str, Any]]:
    answer = client.get("/v1/store/subscriptions")
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def owner_of(client: PlayerClient) -> Player:
    return Player.objects.get(pk=client.player_id)


def gems(player_id: Any) -> int:
    found = balance_of(player_id, "gems")
    return found[0] if found else 0


def job() -> int:
    """The job that runs every five minutes, when all is due."""
    Row.objects.update(next_attempt_at=EPOCH)
    return tasks.ask_about_subscriptions()


def told_events() -> list[str]:
    """What server events told, by name: those of one transaction have no order."""
    names = Event.objects.filter(name__startswith="subscription_").values_list("name", flat=True)
    return sorted(name.removeprefix("subscription_") for name in names)


# The rule


@pytest.mark.parametrize(
    ("phase", "ends", "grace", "more", "expected"),
    [
        (Phase.ACTIVE, 1, None, {}, True),
        (Phase.TRIAL, 1, None, {}, True),
        (Phase.ACTIVE, None, None, {}, True),
        # Who renews is not locked out while nobody says so.
        (Phase.ACTIVE, -23, None, {}, True),
        (Phase.ACTIVE, -24, None, {}, False),
        (Phase.TRIAL, -23, None, {}, True),
        (Phase.ACTIVE, 0, None, {"renews": False}, False),
        (Phase.CANCELLED, 1, None, {}, True),
        (Phase.CANCELLED, 0, None, {}, False),
        (Phase.GRACE, -9, 1, {}, True),
        (Phase.GRACE, -9, 0, {}, False),
        (Phase.GRACE, 2, 1, {}, True),
        (Phase.GRACE, 1, None, {}, True),
        (Phase.HOLD, 1, None, {}, False),
        (Phase.PAUSED, 1, None, {}, False),
        (Phase.PENDING, 1, None, {}, False),
        (Phase.EXPIRED, 1, None, {}, False),
        (Row.Phase.REVOKED, 1, None, {}, False),
        (Phase.ACTIVE, 1, None, {"is_granted": False}, False),
        (Phase.ACTIVE, 1, None, {"is_replaced": True}, False),
    ],
)
def test_entitles__the_rule(
    phase: str, ends: int | None, grace: int | None, more: dict[str, bool], expected: bool
) -> None:
    def hours(count: int | None) -> datetime | None:
        return None if count is None else NOW + timedelta(hours=count)

    given = {"renews": True, "is_granted": True, "is_replaced": False, **more}
    assert entitles(phase, hours(ends), hours(grace), now=NOW, **given) is expected


# What a player sees


def test_list__bought__entitled_with_all_that_is_known(
    club: Shelf, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    assert listed(player_client) == []
    club.buy(owner_of(player_client), "p1", **said(renewal_product="club_year"))

    (found,) = listed(player_client)

    assert (found["state"], found["is_entitled"], found["renews"]) == ("active", True, True)
    assert (found["product"], found["offer"], found["entitlement"]) == ("club", "club", "club")
    assert (found["provider"], found["renewal_product"]) == (NAME, "club_year")
    assert "grace_until" not in found
    row = Row.objects.get()
    assert row.entitled_until is not None
    assert datetime.fromisoformat(found["entitled_until"]) == row.entitled_until
    assert listed(other_player_client) == []
    assert entitlements(player_id=player_client.player_id) == {"club"}


def test_list__1_and_20_rows__as_many_queries(club: Shelf, player_client: PlayerClient) -> None:
    def count(rows: int) -> int:
        for number in range(rows):
            line = said() | {"original_id": f"{rows}-{number}"}
            club.buy(owner_of(player_client), f"{rows}-{number}", **line)
        with CaptureQueriesContext(connection) as queries:
            listed(player_client)
        return len(queries)

    one = count(1)
    assert count(20) == one
    first = player_client.get("/v1/store/subscriptions?limit=15").json()
    rest = player_client.get(f"/v1/store/subscriptions?cursor={first['next']}&limit=15").json()
    assert (len(first["results"]), len(rest["results"]), rest["next"]) == (15, 6, None)


def test_list__held_back_or_taken_back__not_entitled(
    club: Shelf, player_client: PlayerClient
) -> None:
    buyer = owner_of(player_client)
    club.buy(buyer, "p1", **said() | {"quantity": 1, "product": "new"})
    (unknown,) = listed(player_client)
    assert (unknown["is_entitled"], "offer" in unknown) == (False, False)
    club.buy(buyer, "q1", **said() | {"original_id": "q1"})
    club.hear("q1", 1, revoked=WHOLE, **said(Phase.EXPIRED) | {"original_id": "q1"})
    revoked = listed(player_client)[0]
    assert (revoked["state"], revoked["is_entitled"]) == ("revoked", False)


def test_list__only_an_entitlement__nothing_else_is_granted(
    club: Shelf, player_client: PlayerClient
) -> None:
    club.buy(owner_of(player_client), "p1", **said() | {"product": "club_year"})

    assert listed(player_client)[0]["is_entitled"] is True
    assert gems(player_client.player_id) == 0
    assert list(verification.verify()) == []


# Renewals


def test_renewals__from_the_platform_alone__each_period_granted_once(
    club: Shelf, player_client: PlayerClient
) -> None:
    buyer = owner_of(player_client)
    club.buy(buyer, "p1", **said(Phase.TRIAL, timedelta(days=3)))
    for _ in range(2):
        club.hear("p2", 1, **said(period=2))
    # No notification told of the third.
    club.provider.says["p2"] = [club.line("p3", 2, **said(period=3))]

    assert job() == 1

    assert gems(buyer.pk) == 30
    assert [row.player_id for row in PlatformPurchase.objects.all()] == [buyer.pk] * 3
    row = Row.objects.get()
    assert (row.purchase.transaction_id, row.attempts) == ("p3", 0)
    # Asked again when the period ends.
    assert row.next_attempt_at == row.entitled_until
    assert tasks.ask_about_subscriptions() == 0
    assert told_events() == ["renewed", "renewed", "started"]


def test_events__over_a_life__each_change_once(club: Shelf, player: Player) -> None:
    club.buy(player, "p1", state=State.PENDING, **said(Phase.PENDING))
    steps: list[tuple[str, dict[str, Any]]] = [
        ("p1", said()),
        ("p1", said(Phase.GRACE)),
        ("p1", said(Phase.HOLD)),
        ("p1", said()),
        ("p1", said(Phase.PAUSED)),
        ("p2", said(period=2)),
        ("p2", said(Phase.CANCELLED, period=2)),
        ("p3", said(period=3) | {"product": "club_year"}),
        ("p3", said(Phase.EXPIRED, period=3) | {"product": "club_year"}),
    ]
    for at, (period, line) in enumerate(steps):
        for _ in range(2):
            club.hear(period, at + 1, **line)

    assert told_events() == [
        "cancelled",
        "changed",
        "expired",
        "grace",
        "hold",
        "paused",
        "resumed",
        "resumed",
        "started",
    ]
    props = Event.objects.get(name="subscription_changed").props
    assert (props["entitlement"], props["product"], props["before"]) == (
        "club",
        "club_year",
        "cancelled",
    )


def test_renewals__told_before_anybody_claims_them__granted_with_the_claim(
    club: Shelf, player: Player, other: Player
) -> None:
    for number in (1, 2, 3):
        club.hear(f"p{number}", number, **said(period=number))
    assert gems(player.pk) == 0
    latest = club.line("p3", 9, **said(period=3))
    for number in (1, 2, 3):
        first = club.line(f"p{number}", 9, **said() | {"subscription": None})
        club.provider.says[f"p{number}"] = [first, latest]
    club.provider.says["p2"] = TryAgainError("platform_unavailable", counts=False)

    order = club.process(club.submit(player, "p1"))

    # What could not be asked of is not forgotten.
    assert (order.state, gems(player.pk)) == ("retry", 20)
    club.provider.says["p2"] = [club.line("p2", 9, **said() | {"subscription": None}), latest]
    order = club.process(order)
    assert (order.state, gems(player.pk), len(order.purchases)) == ("accepted", 30, 3)
    # Nothing is left for who comes later.
    assert club.process(club.submit(other, "p2")).code == "owned_by_another"
    assert (gems(player.pk), gems(other.pk)) == (30, 0)
    assert list(verification.verify()) == []


# The job


@pytest.fixture
def later() -> Iterator[time_machine.Traveller]:
    """A clock that goes on, and can be set."""
    with time_machine.travel(datetime.now(UTC), tick=True) as traveller:
        yield traveller


def seen(player: Player) -> tuple[str, bool]:
    """The state of a player's only subscription, and whether it entitles."""
    (found,) = subscription_selectors.subscriptions(player_id=player.pk, query=PageQuery()).results
    return found.state, found.is_entitled


def travel(clock: Any, by: timedelta) -> None:
    clock.shift(by)


def test_job__platform_says_nothing_newer__expires_after_the_leeway(
    club: Shelf, player: Player, later: Any
) -> None:
    club.buy(player, "p1", **said(ends=timedelta(hours=1)))
    assert tasks.ask_about_subscriptions() == 0
    travel(later, timedelta(hours=2))

    assert tasks.ask_about_subscriptions() == 1

    assert seen(player) == ("active", True)
    assert Row.objects.get().next_attempt_at > timezone.now()
    travel(later, LEEWAY)
    # What the job has not seen yet does not entitle either.
    assert seen(player) == ("expired", False)
    assert tasks.ask_about_subscriptions() == 1
    assert (Row.objects.get().phase, told_events()) == ("expired", ["expired", "started"])
    assert job() == 0
    # What was known before, told again, does not bring it back; a renewal does.
    club.hear("p1", 0, **said(ends=timedelta(hours=-25)))
    assert Row.objects.get().phase == "expired"
    club.hear("p2", 5, **said(period=2))
    assert Row.objects.get().phase == "active"


def test_job__cancelled__expires_at_its_end(club: Shelf, player: Player, later: Any) -> None:
    club.buy(player, "p1", **said(Phase.CANCELLED, timedelta(hours=1)))
    travel(later, timedelta(hours=1, seconds=1))
    assert tasks.ask_about_subscriptions() == 1
    assert Row.objects.get().phase == "expired"


def test_job__platform_away__neither_expires_nor_gives_up_before_a_day(
    club: Shelf, player: Player, later: Any
) -> None:
    club.buy(player, "p1", **said(ends=timedelta(hours=1)))
    club.provider.says["p1"] = TryAgainError("platform_unavailable", counts=False)
    travel(later, timedelta(hours=2))

    tasks.ask_about_subscriptions()

    row = Row.objects.get()
    assert (row.phase, row.last_error, row.attempts) == ("active", "platform_unavailable", 1)
    assert entitlements(player_id=player.pk) == {"club"}
    travel(later, timedelta(hours=24))
    receipt_figures.measure()
    assert (figure("oldest_unasked_seconds") or 0) > 3600
    tasks.ask_about_subscriptions()
    assert (Row.objects.get().phase, entitlements(player_id=player.pk)) == ("expired", set())


def test_job__platform_has_forgotten_it__lasts_until_what_was_paid_for(
    club: Shelf, player: Player, later: Any
) -> None:
    club.buy(player, "p1", **said(ends=timedelta(hours=1)))
    club.buy(player, "h1", **said(Phase.HOLD) | {"original_id": "h1"})
    for number in ("p1", "h1"):
        club.provider.says[number] = RejectedError("gone")

    assert job() == 2

    phases = dict(Row.objects.values_list("original_id", "phase"))
    assert phases == {"p1": "active", "h1": "expired"}
    assert entitlements(player_id=player.pk) == {"club"}
    travel(later, timedelta(hours=1) + LEEWAY)
    assert job() == 1
    assert not Row.objects.exclude(phase="expired").exists()


def test_job__platform_speaks_of_another_line__asked_again_later(
    club: Shelf, player: Player
) -> None:
    club.buy(player, "p1", **said(Phase.HOLD))
    club.provider.says["p1"] = [club.line("p1", 9, **said() | {"subscription": None})]
    job()
    row = Row.objects.get()
    assert (row.phase, row.attempts) == ("hold", 0)
    assert row.next_attempt_at > timezone.now() + timedelta(hours=23)


def test_job__of_one_player__leaves_the_others(club: Shelf, player: Player, other: Player) -> None:
    club.buy(player, "p1", **said())
    club.buy(other, "q1", **said() | {"original_id": "q1"})
    Row.objects.update(next_attempt_at=EPOCH)
    club.provider.asked.clear()

    tasks.ask_about_subscriptions_of(str(player.pk))

    assert club.provider.asked == ["p1"]


# Upgrades to another subscription, and owners


def test_replaced__by_another__only_that_one_entitles(
    club: Shelf, player_client: PlayerClient
) -> None:
    buyer = owner_of(player_client)
    club.buy(buyer, "p1", **said())
    named = {"original_id": "u1", "product": "club_year"}
    waiting = said(Phase.PENDING, replaces="p1", since=None) | named
    club.hear("u1", 1, state=State.PENDING, **waiting)
    assert [found["state"] for found in listed(player_client)] == ["pending", "active"]

    # Paid: whose it is follows from what it replaces.
    club.hear("u1", 2, **said(replaces="p1", since=None) | named)

    new, old = listed(player_client)
    assert (old["state"], old["is_entitled"]) == ("replaced", False)
    assert (new["state"], new["is_entitled"], new["product"]) == ("active", True, "club_year")
    assert told_events() == ["changed", "started"]
    assert entitlements(player_id=buyer.pk) == {"club"}


def test_conflict__moved__the_subscription_and_its_renewals_go_along(
    club: Shelf, player: Player, other: Player
) -> None:
    club.buy(player, "p1", **said())
    club.process(club.submit(other, "p1"))
    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=True, actor="ann")

    club.hear("p2", 1, **said(period=2))

    assert (gems(player.pk), gems(other.pk)) == (0, 20)
    assert entitlements(player_id=player.pk) == set()
    assert entitlements(player_id=other.pk) == {"club"}
    assert list(verification.verify()) == []


def test_conflict__kept__another_proof_does_not_ask_staff_again(
    club: Shelf, player: Player, other: Player
) -> None:
    club.buy(player, "p1", **said())
    claim = club.process(club.submit(other, "p1"))
    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=False, actor="ann")

    again = club.process(club.submit(other, "p1", proof="another"))

    assert (again.pk, again.code) == (claim.pk, "owned_by_another")
    assert OwnerConflict.objects.get().state == "kept"
    assert Order.objects.count() == 2


# Refunds that last


def test_refund__of_a_platform_that_undoes_none__stays_whatever_comes(
    club: Shelf, player: Player
) -> None:
    club.buy(player, "t1", refunds_last=True)
    club.hear("t1", 5, refunds_last=True, revoked=WHOLE)
    # An answer that lags behind, though it was given later; and one that was given before.
    club.hear("t1", 9, refunds_last=True)
    assert gems(player.pk) == 0
    club.buy(player, "t2", 9, refunds_last=True)
    club.hear("t2", 5, refunds_last=True, revoked=WHOLE)
    assert gems(player.pk) == 0
    # Of others, the later word counts.
    club.buy(player, "t3", at=9)
    club.hear("t3", 5, revoked=WHOLE)
    assert gems(player.pk) == 100


def test_refresh__what_is_over__is_not_asked_about(club: Shelf, player: Player) -> None:
    club.buy(player, "p1", **said())
    club.buy(player, "q1", **said(Phase.EXPIRED) | {"original_id": "q1"})
    assert subscription_checks.refresh(player_id=player.pk) == 1


# The back office


def test_pages__show_the_state_and_the_periods_and_ask_again(club: Shelf, player: Player) -> None:
    club.buy(player, "p1", **said())
    club.hear("p2", 1, **said(Phase.CANCELLED, period=2))
    row = Row.objects.get()
    support = signed_in(StaffUser.Role.SUPPORT)
    pages = [
        support.get(url_of("subscription_changelist") + f"?q={player.pk}"),
        support.get(url_of("subscription_change", row)),
        support.get(reverse("admin:accounts_player_change", args=[player.pk])),
    ]
    texts = [text_of(page) for page in pages]
    assert all("cancelled" in text for text in texts)
    assert "cancelled, entitled" in texts[1]
    assert all(str(one.pk) in texts[1] for one in PlatformPurchase.objects.all())
    assert "Entitled now: club." in texts[2]

    action = {"action": "ask", "_selected_action": [str(row.pk)]}
    club.provider.asked.clear()
    signed_in(StaffUser.Role.ANALYST).post(url_of("subscription_changelist"), action)
    assert tasks.ask_about_subscriptions() == 0
    support.post(url_of("subscription_changelist"), action)
    tasks.ask_about_subscriptions()
    assert club.provider.asked == ["p2"]
    assert LogEntry.objects.filter(object_pk=str(row.pk)).exists()


def test_game_file__entitlement__goes_in_and_out(db: None) -> None:
    text = """
game: {slug: clubs, name: Clubs, timezone: UTC}
offers:
- {key: club, contents: {}, entitlement: club, products: {apple: club}}
- {key: wrong, contents: {}, entitlement: club, price: {petals: 1}, products: {apple: wrong}}
"""
    with pytest.raises(game_files.DefinitionError) as wrong:
        game_files.apply(text=text, dry_run=True)
    assert "entitlement" in str(vars(wrong.value))
    good = "\n".join(line for line in text.splitlines() if "wrong" not in line)
    game_files.apply(text=good)
    assert "entitlement: club" in game_files.export(slug="clubs")
