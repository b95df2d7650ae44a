"""Apple's notifications: who sent them, what they are about, and which of them were missed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings

from store.providers.apple import AppleProvider
from store.providers.base import (
    WHOLE,
    App,
    Environment,
    MisconfiguredError,
    Notice,
    RejectedError,
    TryAgainError,
    Verified,
)
from tests.fakes.app_store import AppStore
from tests.fakes.apple_ca import Authority
from tests.fakes.apple_sales import DURABLE
from tests.fakes.faults import BROKEN, Answer
from tests.store.providers.apple_setup import app_of

HISTORY = "/notifications/history"


def sent(payload: Any) -> bytes:
    return json.dumps({"signedPayload": payload}).encode()


def resolve(apple: AppleProvider, app: App, payload: str) -> list[Verified]:
    return apple.resolve(app, stored(apple.read_notice({}, sent(payload))))


def stored(notice: Notice) -> Notice:
    """As it comes back from the database."""
    return Notice(
        notice.id, notice.kind, notice.app_id, notice.signed_at, json.loads(json.dumps(notice.data))
    )


def test_a_notification_is_read_without_the_network(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    payload = app_store.refund(app_store.buy())
    notice = apple.read_notice({"Content-Type": "application/json"}, sent(payload))
    assert (notice.kind, notice.app_id) == ("REFUND", app.app_id)
    assert abs(app_store.now() - notice.signed_at) < timedelta(seconds=10)
    # The same one again is known by its id.
    assert apple.read_notice({}, sent(payload)).id == notice.id
    assert apple.read_notice({}, sent(app_store.notify("TEST"))).id != notice.id
    assert not app_store.seen


def test_a_refund_and_its_reversal(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    player = uuid4()
    number = app_store.buy("gems_100", account=player)
    [refund] = resolve(apple, app, app_store.refund(number))
    assert (refund.transaction_id, refund.revoked, refund.account) == (number, WHOLE, player)
    [reversal] = resolve(apple, app, app_store.reverse_refund(number))
    assert (reversal.transaction_id, reversal.revoked) == (number, 0)
    # Which is the newer word can be told, in whichever order they arrive.
    assert reversal.signed_at >= refund.signed_at
    assert reversal.revoked_at is None


def test_a_part_of_the_price(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    number = app_store.buy(quantity=3)
    [line] = resolve(apple, app, app_store.refund(number, percentage=33_333))
    assert (line.revoked, line.quantity) == (33_333, 3)


def test_a_family_that_stops_sharing(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    number = app_store.buy(kind=DURABLE, inAppOwnershipType="FAMILY_SHARED")
    [line] = resolve(apple, app, app_store.leave_family(number))
    assert (line.revoked, line.is_family_shared) == (WHOLE, True)


@pytest.mark.parametrize(
    "kind", ["CONSUMPTION_REQUEST", "REFUND_DECLINED", "ONE_TIME_CHARGE", "PRICE_CHANGE", "NOVELTY"]
)
def test_what_changes_nothing_says_what_is_so(
    apple: AppleProvider, app: App, app_store: AppStore, kind: str
) -> None:
    number = app_store.buy()
    [line] = resolve(apple, app, app_store.notify(kind, number))
    assert (line.transaction_id, line.revoked) == (number, 0)
    # Nor is Apple told anything of it (docs/adr/0083).
    assert app_store.seen == []


def test_what_is_about_no_transaction_resolves_to_nothing(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    about = {
        "environment": "Production",
        "bundleId": app_store.bundle_id,
        "appAppleId": app_store.app_apple_id,
    }
    outside = {**about, "externalPurchaseId": str(uuid4())}
    del outside["environment"]
    sandbox = {**outside, "externalPurchaseId": f"SANDBOX_{uuid4()}"}
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("TEST", {}),
        ("RENEWAL_EXTENSION", {"data": None, "summary": {**about, "productId": "club_month"}}),
        ("RESCIND_CONSENT", {"data": None, "appData": about}),
        ("EXTERNAL_PURCHASE_TOKEN", {"data": None, "externalPurchaseToken": outside}),
        ("EXTERNAL_PURCHASE_TOKEN", {"data": None, "externalPurchaseToken": sandbox}),
    )
    for kind, changes in cases:
        assert resolve(apple, app, app_store.notify(kind, **changes)) == []


def test_a_transaction_inside_is_checked_by_itself(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number, authority = app_store.buy(), app_store.authority
    app_store.authority = Authority(authority.responder)
    foreign = app_store.jws(number)
    app_store.authority = authority
    other_app = app_store.jws(number, bundleId="com.other.game")
    for inner, code in ((foreign, "bad_signature"), (other_app, "wrong_app")):
        data = {
            "environment": "Production",
            "bundleId": app.app_id,
            "appAppleId": app_store.app_apple_id,
            "signedTransactionInfo": inner,
        }
        with pytest.raises(RejectedError) as refused:
            resolve(apple, app, app_store.notify("REFUND", number, data=data))
        assert refused.value.code == code


def test_another_apps_notification_names_it(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    """The signature is Apple's: whether we have such an app is not the provider's to know."""
    data = {"environment": "Production", "bundleId": "com.other.game", "appAppleId": 5}
    notice = apple.read_notice({}, sent(app_store.notify("TEST", data=data)))
    assert notice.app_id == "com.other.game"


def test_an_app_number_of_another_app_is_our_mistake(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    """A refund must not be dropped for it."""
    wrong = app_of(app_store, app_apple_id=app_store.app_apple_id + 1)
    with pytest.raises(MisconfiguredError):
        resolve(apple, wrong, app_store.refund(app_store.buy()))
    # In the sandbox, apps that were never released have no number.
    payload = app_store.refund(app_store.buy(sandbox=True))
    assert resolve(apple, wrong, payload)[0].environment is Environment.SANDBOX


def test_what_is_no_notification_of_apples(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy()
    good = app_store.notify("TEST")
    head, body, signature = good.split(".")
    authority, app_store.authority = app_store.authority, Authority("http://127.0.0.1/ocsp")
    foreign = app_store.notify("TEST")
    app_store.authority = authority
    xcode = {"environment": "Xcode", "bundleId": app_store.bundle_id}
    nameless = {"environment": "Production", "appAppleId": app_store.app_apple_id}
    lettered = {"environment": "Production", "bundleId": "a", "appAppleId": "b"}
    for payload in (
        foreign,
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"e30.{body}.{signature}",
        app_store.jws(number),  # signed, but a transaction
        app_store.notify("TEST", data=xcode),
        app_store.notify("TEST", data=nameless),
        app_store.notify("TEST", data=lettered),
        app_store.notify("TEST", data=None),
        app_store.notify("TEST", notificationUUID=None),
        app_store.notify("TEST", notificationUUID="../1"),
        app_store.notify("TEST", notificationType=None),
        app_store.notify("TEST", signedDate=None),
        app_store.notify("TEST", data=[1]),
        app_store.notify("TEST", data={**nameless, "bundleId": "a", "status": {"a": 1}}),
        "",
        None,
        5,
        "a.b.c",
        ["a"],
    ):
        with pytest.raises(RejectedError):
            apple.read_notice({}, sent(payload))
    for body_ in (b"", b"[]", b"null", b"\xff", b'{"a":' * 5_000, b"{}", b"signedPayload=x"):
        with pytest.raises(RejectedError):
            apple.read_notice({}, body_)


def test_while_the_roots_cannot_be_read_notifications_come_again(
    apple: AppleProvider, app_store: AppStore
) -> None:
    payload = app_store.notify("TEST")
    with (
        override_settings(APPLE_ROOT_CERTIFICATES=["/nowhere.pem"]),
        pytest.raises(TryAgainError),
    ):
        apple.read_notice({}, sent(payload))
    assert apple.read_notice({}, sent(payload)).kind == "TEST"


# What was missed


def missed(apple: AppleProvider, app: App, store: AppStore, days: float = 1) -> list[Notice]:
    now = datetime.now(UTC) + timedelta(minutes=1)
    found = list(apple.missed(app, now - timedelta(days=days), now))
    assert all(isinstance(notice, Notice) for notice in found)
    return [notice for notice in found if isinstance(notice, Notice)]


def test_a_missed_refund_comes_back_from_the_history(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy()
    arrived = apple.read_notice({}, sent(app_store.refund(number)))
    [notice] = missed(apple, app, app_store)
    assert notice == arrived  # the same id: had it arrived, it would be known
    assert apple.resolve(app, notice)[0].revoked == WHOLE


def test_all_pages_of_both_environments(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    for sandbox in (False, True):
        number = app_store.buy(sandbox=sandbox)
        for _ in range(45):
            app_store.notify("CONSUMPTION_REQUEST", number)
    found = missed(apple, app, app_store)
    assert len({notice.id for notice in found}) == 90
    assert len(app_store.asked(f"^/production.*{HISTORY}")) == 3
    assert len(app_store.asked(f"^/sandbox.*{HISTORY}")) == 3


def test_it_asks_no_further_back_than_apple_keeps(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    assert missed(apple, app, app_store, days=400) == []
    long, short = (request.json() for request in app_store.asked(HISTORY))
    day = 86_400_000
    assert 179 * day < long["endDate"] - long["startDate"] < 180 * day
    assert 29 * day < short["endDate"] - short["startDate"] < 30 * day
    now = datetime.now(UTC)
    old = list(apple.missed(app, now - timedelta(days=300), now - timedelta(days=200)))
    assert old == []
    assert len(app_store.asked(HISTORY)) == 2


def test_one_that_nobody_can_read_hides_no_other(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    payload = app_store.notify("TEST")
    page = [{"signedPayload": text} for text in ("a.b.c", payload, "", None)]
    app_store.fail(Answer(200, {"notificationHistory": [*page, {}], "hasMore": False}))
    assert len(missed(apple, app, app_store)) == 1


def test_a_page_that_never_ends_is_left(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    app_store.fail(Answer(200, {"hasMore": True, "paginationToken": "1"}), always=True)
    assert missed(apple, app, app_store) == []
    assert len(app_store.asked(HISTORY)) == 4


def test_trouble_in_production_is_told_and_in_the_sandbox_is_not(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    app_store.notify("TEST")
    app_store.fail(BROKEN, on="^/sandbox", always=True)
    assert len(missed(apple, app, app_store)) == 1
    app_store.fail(BROKEN, on="^/production", always=True)
    with pytest.raises(TryAgainError):
        missed(apple, app, app_store)


def test_before_its_release_an_app_has_a_history_in_the_sandbox_only(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    app_store.refund(app_store.buy(sandbox=True))
    app_store.fail(Answer(401, b"Unauthenticated"), on="^/production", always=True)
    assert len(missed(apple, app, app_store)) == 1
    app_store.fail(Answer(401, b"Unauthenticated"), on="^/sandbox")
    with pytest.raises(MisconfiguredError):
        missed(apple, app, app_store)
