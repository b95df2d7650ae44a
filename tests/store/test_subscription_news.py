"""News of a subscription, in any order and any number of times: the same end, each period once."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Player
from store.models import PlatformPurchase, Transaction
from store.models import Subscription as Row
from store.providers.base import WHOLE, Environment, Kind, Phase, Subscription, Verified
from store.services import granting, ownership, verification
from tests.factories.accounts import PlayerFactory
from tests.factories.store import OfferFactory
from tests.fakes.platform import EPOCH, NAME, NOTICE, Shelf
from tests.store.conftest import balance_of
from tests.store.receipts import shelf

__all__ = ["shelf"]
pytestmark = pytest.mark.django_db
MONTH = timedelta(days=30)
PHASES = [Phase.ACTIVE, Phase.TRIAL, Phase.GRACE, Phase.CANCELLED, Phase.HOLD, Phase.EXPIRED]


class Undone(Exception):  # noqa: N818 (it is no mistake)
    """What an order of events did is to be forgotten."""


@st.composite
def lives(draw: st.DrawFn) -> list[Verified]:
    """All that a platform says of one to three periods; much of it at the same moments.

    Apple says of which period it speaks, Google never undoes a refund and speaks of the latest.
    """
    is_google = draw(st.booleans())
    news = []
    for period in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, 3)) + (period * 10 if is_google else 0)
            state = Subscription(
                phase=draw(st.sampled_from(PHASES)),
                expires_at=EPOCH + (period + 1) * MONTH,
                renews=draw(st.booleans()),
                grace_until=draw(st.sampled_from([None, EPOCH + (period + 2) * MONTH])),
                since=None if is_google else EPOCH + period * MONTH,
            )
            news.append(
                Verified(
                    environment=Environment.PRODUCTION,
                    app_id="",
                    transaction_id=f"p{period}",
                    product="club",
                    signed_at=EPOCH + timedelta(seconds=at),
                    kind=Kind.SUBSCRIPTION,
                    original_id="p0",
                    revoked=draw(st.sampled_from([0, 0, 0, 30_000, WHOLE])),
                    refunds_last=is_google,
                    subscription=state,
                )
            )
    return news


def test_news__any_order_and_repetition__ends_the_same(
    shelf: Shelf,
) -> None:
    club = {"currencies": {"gems": 100}, "items": {"seeds": 3}}
    OfferFactory(
        game=shelf.game, key="club", contents=club, products={NAME: "club"}, entitlement="club"
    )
    player = PlayerFactory(game=shelf.game)
    token = ownership.account_token(player_id=player.pk)

    def end_of(news: list[Verified]) -> dict[str, Any]:
        """What is so after that; all of it is undone."""
        end: dict[str, Any] = {}
        try:
            with transaction.atomic():
                for line in news:
                    granting.apply(platform=shelf.platform, line=line, cause=NOTICE)
                end = state_of(player)
                raise Undone
        except Undone:
            return end

    @settings(
        max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(data=st.data(), bare=lives())
    def check(data: st.DataObject, bare: list[Verified]) -> None:
        news = [replace(line, app_id=shelf.app_id, account=token) for line in bare]
        shuffled = data.draw(st.permutations(news * 2))
        in_order = sorted(news, key=lambda line: line.signed_at)
        assert end_of(shuffled) == end_of(in_order)

    check()


def state_of(player: Player) -> dict[str, Any]:
    """All that matters in the end; and that the books are right, and no period granted twice."""
    assert list(verification.verify()) == []
    row = Row.objects.get()
    purchases = PlatformPurchase.objects.order_by("transaction_id")
    found = {
        "subscription": (
            row.phase,
            row.entitled_until,
            row.grace_until,
            row.renews,
            row.player_id,
            row.signed_at,
            row.period_since,
            row.purchase.transaction_id,
        ),
        "purchases": [(one.transaction_id, one.state, one.revoked) for one in purchases],
        "gems": sum(balance_of(player.pk, "gems") or ()),
    }
    for one in purchases:
        keys = Transaction.objects.filter(key=f"purchase:{one.pk}:grant")
        assert keys.count() == (0 if one.granted_at is None else 1)
        assert one.revoked >= WHOLE or one.granted_at is not None
    return found
