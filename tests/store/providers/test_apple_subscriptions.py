"""Subscriptions of the App Store: what the status, the renewal info and the dates say together."""

from datetime import timedelta
from typing import Any

import pytest

from store.providers.apple import AppleProvider
from store.providers.base import WHOLE, App, Kind, Phase, RejectedError, TryAgainError, Verified
from tests.fakes.app_store import AppStore
from tests.fakes.apple_sales import ACTIVE, EXPIRED, GRACE, MONTH, RETRYING, REVOKED, ms
from tests.fakes.faults import BROKEN, Answer

STATUSES = "/inApps/v1/subscriptions/"


def verify(apple: AppleProvider, app: App, store: AppStore, number: str) -> list[Verified]:
    return apple.verify(app, apple.read_receipt({"jws": store.jws(number)}))


def test_a_new_subscription(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    original = app_store.subscribe("club_month")
    [line] = verify(apple, app, app_store, original)
    assert (line.kind, line.original_id, line.product) == (
        Kind.SUBSCRIPTION,
        original,
        "club_month",
    )
    state = line.subscription
    assert state
    assert (state.phase, state.renews, state.renewal_product) == (Phase.ACTIVE, True, "club_month")
    assert state.expires_at
    assert abs(state.expires_at - app_store.now() - MONTH) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("status", "renewal", "phase"),
    [
        (ACTIVE, {}, Phase.ACTIVE),
        (ACTIVE, {"autoRenewStatus": 0}, Phase.CANCELLED),
        (GRACE, {"isInBillingRetryPeriod": True}, Phase.GRACE),
        (RETRYING, {"isInBillingRetryPeriod": True}, Phase.HOLD),
        (EXPIRED, {"expirationIntent": 1, "autoRenewStatus": 0}, Phase.EXPIRED),
        (REVOKED, {}, Phase.EXPIRED),
        (99, {}, Phase.ACTIVE),  # a status of Apple's future: the dates say that it runs
    ],
)
def test_each_status_is_a_phase(
    apple: AppleProvider,
    app: App,
    app_store: AppStore,
    status: int,
    renewal: dict[str, Any],
    phase: Phase,
) -> None:
    original = app_store.subscribe()
    app_store.become(original, status, **renewal)
    [line] = verify(apple, app, app_store, original)
    assert line.subscription
    assert line.subscription.phase is phase
    assert line.subscription.renews is (renewal.get("autoRenewStatus") != 0)


def test_a_trial_and_its_end(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    original = app_store.subscribe(offerDiscountType="FREE_TRIAL", offerType=1)
    [line] = verify(apple, app, app_store, original)
    assert line.subscription
    assert line.subscription.phase is Phase.TRIAL
    app_store.become(original, ACTIVE, autoRenewStatus=0)
    [line] = verify(apple, app, app_store, original)
    assert line.subscription
    assert line.subscription.phase is Phase.CANCELLED


def test_grace_tells_until_when(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    original = app_store.subscribe()
    until = app_store.now() + timedelta(days=6)
    app_store.become(original, GRACE, gracePeriodExpiresDate=ms(until))
    [line] = verify(apple, app, app_store, original)
    assert line.subscription
    assert line.subscription.grace_until
    assert abs(line.subscription.grace_until - until) < timedelta(seconds=1)


def test_an_old_transaction_brings_the_latest_along(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    original = app_store.subscribe()
    first = app_store.jws(original)
    app_store.renew(original)
    latest = app_store.renew(original)
    lines = apple.verify(app, apple.read_receipt({"jws": first}))
    assert [line.transaction_id for line in lines] == [original, latest]
    assert {line.original_id for line in lines} == {original}
    assert lines[0].subscription is None  # it is the latest that carries what is so now
    assert lines[1].subscription
    assert lines[1].signed_at >= lines[0].signed_at


def test_an_upgrade_ends_the_one_and_begins_the_other(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    original = app_store.subscribe("club_month")
    old = app_store.upgrade(original, "club_gold")
    lines = verify(apple, app, app_store, old)
    assert [line.product for line in lines] == ["club_gold"]
    # A notification about the one that was left says that it ended.
    left = apple.read_notice({}, sent(app_store.notify("DID_CHANGE_RENEWAL_PREF", original)))
    [line] = apple.resolve(app, left)
    assert line.subscription
    assert line.subscription.phase is Phase.EXPIRED


def test_a_refunded_period(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    original = app_store.subscribe()
    app_store.refund(original)
    app_store.become(original, REVOKED)
    [line] = verify(apple, app, app_store, original)
    assert line.subscription
    assert (line.revoked, line.subscription.phase) == (WHOLE, Phase.EXPIRED)


def test_without_its_status_a_subscription_waits(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    original = app_store.subscribe()
    for fault in (
        BROKEN,
        Answer(404, {"errorCode": 4040005}),
        Answer(200, {"data": []}),
        Answer(200, {"data": [{"lastTransactions": []}]}),
        Answer(200, {}),
    ):
        app_store.fail(fault, on=STATUSES)
        with pytest.raises(TryAgainError):
            verify(apple, app, app_store, original)


def test_a_renewal_info_of_another_subscription_is_not_taken(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    """Nothing in it names the app: what Apple signed for another would fit any."""
    mine, other = app_store.subscribe(), app_store.subscribe()
    foreign = app_store.renewal_jws(other)
    data: dict[str, Any] = {"environment": "Production", "bundleId": app_store.bundle_id}
    data |= {"appAppleId": app_store.app_apple_id, "status": 1}
    data |= {"signedTransactionInfo": app_store.jws(mine), "signedRenewalInfo": foreign}
    notice = apple.read_notice({}, sent(app_store.notify("DID_RENEW", mine, data=data)))
    with pytest.raises(RejectedError):
        apple.resolve(app, notice)


@pytest.mark.parametrize(
    ("kind", "subtype", "status", "renewal", "phase"),
    [
        ("SUBSCRIBED", "INITIAL_BUY", ACTIVE, {}, Phase.ACTIVE),
        ("SUBSCRIBED", "RESUBSCRIBE", ACTIVE, {}, Phase.ACTIVE),
        ("DID_RENEW", "", ACTIVE, {}, Phase.ACTIVE),
        ("DID_RENEW", "BILLING_RECOVERY", ACTIVE, {}, Phase.ACTIVE),
        (
            "DID_CHANGE_RENEWAL_STATUS",
            "AUTO_RENEW_DISABLED",
            ACTIVE,
            {"autoRenewStatus": 0},
            Phase.CANCELLED,
        ),
        ("DID_CHANGE_RENEWAL_STATUS", "AUTO_RENEW_ENABLED", ACTIVE, {}, Phase.ACTIVE),
        (
            "DID_CHANGE_RENEWAL_PREF",
            "DOWNGRADE",
            ACTIVE,
            {"autoRenewProductId": "club_small"},
            Phase.ACTIVE,
        ),
        ("OFFER_REDEEMED", "", ACTIVE, {}, Phase.ACTIVE),
        ("DID_FAIL_TO_RENEW", "GRACE_PERIOD", GRACE, {"isInBillingRetryPeriod": True}, Phase.GRACE),
        ("DID_FAIL_TO_RENEW", "", RETRYING, {"isInBillingRetryPeriod": True}, Phase.HOLD),
        ("GRACE_PERIOD_EXPIRED", "", RETRYING, {}, Phase.HOLD),
        ("EXPIRED", "VOLUNTARY", EXPIRED, {"autoRenewStatus": 0}, Phase.EXPIRED),
        ("EXPIRED", "BILLING_RETRY", EXPIRED, {}, Phase.EXPIRED),
        ("PRICE_INCREASE", "PENDING", ACTIVE, {"priceIncreaseStatus": 0}, Phase.ACTIVE),
        ("RENEWAL_EXTENDED", "", ACTIVE, {}, Phase.ACTIVE),
        ("SOMETHING_NEW", "", ACTIVE, {}, Phase.ACTIVE),
    ],
)
def test_each_notification_of_a_subscription(
    apple: AppleProvider,
    app: App,
    app_store: AppStore,
    kind: str,
    subtype: str,
    status: int,
    renewal: dict[str, Any],
    phase: Phase,
) -> None:
    original = app_store.subscribe()
    latest = app_store.renew(original)
    app_store.become(original, status, **renewal)
    notice = apple.read_notice({}, sent(app_store.notify(kind, latest, subtype)))
    assert notice.kind == (f"{kind}.{subtype}" if subtype else kind)
    [line] = apple.resolve(app, notice)
    assert (line.transaction_id, line.original_id) == (latest, original)
    assert line.subscription
    assert line.subscription.phase is phase
    assert line.subscription.renewal_product == renewal.get("autoRenewProductId", "club_month")
    assert not app_store.seen  # all of it was signed: nothing needs asking


def test_a_notification_without_a_status_goes_by_the_dates(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    original = app_store.subscribe()
    app_store.series[original].status = None  # type: ignore[assignment]  # Apple may not say
    for late, phase in ((timedelta(), Phase.ACTIVE), (MONTH * 2, Phase.EXPIRED)):
        app_store.transactions[original]["expiresDate"] = ms(app_store.now() + MONTH - late)
        body = sent(app_store.notify("METADATA_UPDATE", original))
        [line] = apple.resolve(app, apple.read_notice({}, body))
        assert line.subscription
        assert line.subscription.phase is phase


def test_of_several_subscriptions_its_own_is_taken(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    original, other = app_store.subscribe("club_month"), app_store.subscribe("club_gold")
    items = [
        {
            "originalTransactionId": number,
            "status": ACTIVE,
            "signedTransactionInfo": app_store.jws(number),
        }
        for number in (other, original)
    ]
    groups = [{"lastTransactions": []}, {"lastTransactions": items}]
    app_store.fail(Answer(200, {"data": groups}), on=STATUSES)
    [line] = verify(apple, app, app_store, original)
    assert line.product == "club_month"
    # Without renewal info nothing tells that it will end.
    assert line.subscription
    assert (line.subscription.phase, line.subscription.renews) == (Phase.ACTIVE, False)


def sent(payload: str) -> bytes:
    return b'{"signedPayload": "%s"}' % payload.encode()
