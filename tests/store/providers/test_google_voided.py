"""Refunds that no notification told of: Google's list of voided purchases."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from store.providers.base import WHOLE, App, Notice, RejectedError, TryAgainError, Verified
from store.providers.google import GoogleProvider
from tests.fakes.faults import BROKEN
from tests.fakes.play_store import PlayStore

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def listed(
    google: GoogleProvider, app: App, since: timedelta = DAY, until: timedelta = -HOUR
) -> Sequence[Notice]:
    now = datetime.now(UTC)
    found = list(google.missed(app, now - since, now - until))
    assert all(isinstance(one, Notice) for one in found)
    return [one for one in found if isinstance(one, Notice)]


def missed(
    google: GoogleProvider, app: App, since: timedelta = DAY, until: timedelta = -HOUR
) -> Sequence[Verified]:
    """What comes of all that is listed."""
    notices = listed(google, app, since, until)
    return [line for notice in notices for line in google.resolve(app, notice)]


def test_nothing_voided(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    play.sell("gems_small")
    assert missed(google, garden) == []


def test_products_and_subscriptions__found_with_their_time(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    play.refund(token, recorded_ago=HOUR)
    subscription = play.subscribe()
    order_id = play.renew(subscription)
    play.refund_order(order_id)
    product, renewal = missed(google, garden)
    assert (product.transaction_id, product.line, product.revoked) == (token, "gems_small", WHOLE)
    assert product.revoked_at is not None
    assert abs(datetime.now(UTC) - HOUR - product.revoked_at) < timedelta(minutes=1)
    assert (renewal.transaction_id, renewal.revoked) == (order_id, WHOLE)
    assert (renewal.original_id, renewal.kind) == (subscription, "subscription")
    assert product.signed_at > product.revoked_at


def test_request__as_documented(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    missed(google, garden, since=DAY, until=HOUR)
    (request,) = play.asked("voidedpurchases")
    assert request.one("type") == "1"
    assert request.one("includeQuantityBasedPartialRefund") == "true"
    span = int(request.one("endTime") or 0) - int(request.one("startTime") or 0)
    assert span == 23 * 3_600_000
    # The end may not be in the future by Google's clock: without it the end is now.
    missed(google, garden)
    assert play.asked("voidedpurchases")[1].one("endTime") is None


def test_window__by_when_google_recorded_it(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    play.refund(token, recorded_ago=2 * DAY)
    assert missed(google, garden, since=DAY) == []
    assert missed(google, garden, since=3 * DAY, until=DAY)[0].transaction_id == token


def test_window__longer_than_google_remembers__cut_to_30_days(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    play.refund(token, recorded_ago=29 * DAY)
    assert missed(google, garden, since=200 * DAY)[0].transaction_id == token


def test_pages__all_of_them(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    play.page = 2
    tokens = [play.sell("gems_small") for _ in range(5)]
    for token in tokens:
        play.refund(token)
    assert [line.transaction_id for line in missed(google, garden)] == tokens
    assert len(play.asked("voidedpurchases")) == 3


def test_part_of_the_quantity__several_times__the_sum(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small", quantity=4)
    play.refund(token, quantity=1, recorded_ago=HOUR)
    play.refund(token, quantity=1)
    assert [(line.revoked, line.quantity) for line in missed(google, garden)] == [
        (WHOLE // 2, 4)
    ] * 2


def test_part_of_the_quantity__not_to_be_seen_yet__tried_again(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small", quantity=4)
    play.refund(token, quantity=1, is_shown=False)
    with pytest.raises(TryAgainError):
        missed(google, garden)


def test_listed_again__the_same_id__and_ids_fit_their_column(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small", quantity=4, token="x" * 1500)
    play.refund(token, quantity=1, recorded_ago=2 * HOUR)
    play.refund(token, quantity=1, recorded_ago=HOUR)
    play.refund(token, quantity=2)
    first, again = listed(google, garden), listed(google, garden, since=2 * DAY)
    assert len({notice.id for notice in first}) == 3
    assert [notice.id for notice in again] == [notice.id for notice in first]
    assert max(len(notice.id) for notice in first) < 200


def test_other_answers_lag_behind__the_list_counts(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    play.refund(token, is_shown=False)
    subscription = play.subscribe()
    order_id = play.subscriptions[subscription]["lineItems"][0]["latestSuccessfulOrderId"]
    play.refund_order(order_id, is_shown=False)
    product, payment = missed(google, garden)
    assert (product.state, product.revoked, product.must_tell) == ("purchased", WHOLE, False)
    assert (payment.transaction_id, payment.revoked) == (subscription, WHOLE)


def test_order_that_google_does_not_show__of_the_subscriptions_product(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    subscription = play.subscribe("pass")
    order_id = play.renew(subscription)
    play.renew(subscription)
    play.refund_order(order_id)
    del play.orders[order_id]
    (found,) = missed(google, garden)
    assert (found.transaction_id, found.line, found.revoked) == (order_id, "pass", WHOLE)


def test_prorated_subscription__that_share(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    subscription = play.subscribe(price=("EUR", 8, 0))
    order_id = play.renew(subscription)
    play.refund_order(order_id, share=0.25)
    (found,) = missed(google, garden)
    assert found.revoked == 25_000


def test_subscription_forgotten_by_google__rejected_by_itself(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    forgotten = play.subscribe()
    play.refund_order(play.renew(forgotten))
    play.forget(forgotten)
    token = play.sell("gems_small")
    play.refund(token)
    lost, found = listed(google, garden)
    with pytest.raises(RejectedError):
        google.resolve(garden, lost)
    assert google.resolve(garden, found)[0].transaction_id == token


def test_list__costs_one_call_a_page(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    for _ in range(5):
        play.refund(play.sell("gems_small"))
    assert len(listed(google, garden)) == 5
    assert len(play.asked("androidpublisher")) == 1


def test_fault_in_the_middle__raised_so_that_the_window_is_read_again(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    play.page = 1
    for _ in range(2):
        play.refund(play.sell("gems_small"))
    found = google.missed(garden, datetime.now(UTC) - DAY, datetime.now(UTC))
    next(found)
    play.fail(BROKEN, on="voidedpurchases")
    with pytest.raises(TryAgainError):
        next(found)
