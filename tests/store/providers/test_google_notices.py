"""Real-time developer notifications: who may send them, and what comes of them."""

import base64
import json
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import jwt
import pytest

from store.models import PlatformApp
from store.providers import google_notices
from store.providers.base import WHOLE, App, Notice, RejectedError, TryAgainError
from store.providers.google import GoogleProvider
from tests.fakes.faults import BROKEN, HANG, HTML_200, Answer, Fault, Slow
from tests.fakes.play_keys import (
    AUDIENCE,
    OTHER_KEY,
    PACKAGE,
    PUSH_KEY,
    private_key,
    public_key_of,
)
from tests.fakes.play_sales import new_token
from tests.fakes.play_store import PlayStore
from tests.threads import at_once

TEST: dict[str, Any] = {"testNotification": {"version": "1.0"}}


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(google: GoogleProvider) -> Clock:
    google._keys.clock = clock = Clock()
    return clock


def read(google: GoogleProvider, play: PlayStore, body: bytes = b"", **claims: Any) -> Notice:
    return google.read_notice(play.push.headers(**claims), body or play.push.body(**TEST))


def refusal(google: GoogleProvider, headers: dict[str, str], body: bytes) -> str:
    with pytest.raises(RejectedError) as error:
        google.read_notice(headers, body)
    return error.value.code


# Who sends


def test_notice__googles__read_and_named(google: GoogleProvider, play: PlayStore) -> None:
    before = time.time() - 1
    notice = read(google, play)
    assert notice.id == f"{PACKAGE}:136969346945"
    assert (notice.kind, notice.app_id) == ("testNotification", PACKAGE)
    assert before < notice.signed_at.timestamp() < time.time() + 1
    headers = {"authorization": f"bearer {play.push.token()}"}
    assert google.read_notice(headers, play.push.body(**TEST)).id == notice.id


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example/"},
        {"aud": [AUDIENCE]},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"email": "push@other.iam.gserviceaccount.com"},
        {"email": None},
        {"email": "\ud800"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
    ],
    ids=str,
)
def test_token__not_for_us_or_not_from_ours__refused(
    google: GoogleProvider, play: PlayStore, claims: dict[str, Any]
) -> None:
    headers = play.push.headers(**claims)
    assert refusal(google, headers, play.push.body(**TEST)) == "not_authentic"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer x", "Bearer a.b.c", "Bearer §.§.§"]
)
def test_token__missing_or_none__refused(
    google: GoogleProvider, play: PlayStore, header: str
) -> None:
    headers = {"Authorization": header} if header else {}
    assert refusal(google, headers, play.push.body(**TEST)) == "not_authentic"
    assert play.seen == []


def test_token__too_long__refused_unread(google: GoogleProvider, play: PlayStore) -> None:
    headers = play.push.headers(padding="x" * 5000)
    assert refusal(google, headers, play.push.body(**TEST)) == "not_authentic"
    assert play.seen == []


def test_token__forged__refused(google: GoogleProvider, play: PlayStore) -> None:
    claims, kid = play.push.claims(), {"kid": play.push.kid}
    public = public_key_of(PUSH_KEY).public_numbers().n.to_bytes(256, "big")
    real = play.push.token()
    forged = [
        jwt.encode(claims, private_key(OTHER_KEY), "RS256", kid),
        jwt.encode(claims, "", "none", kid),
        jwt.encode(claims, public, "HS256", kid),
        jwt.encode(claims, private_key(PUSH_KEY), "RS256"),
        jwt.encode(claims, private_key(PUSH_KEY), "RS512", kid),
        f"{real[:-8]}AAAAAAAA",
    ]
    for token in forged:
        headers = {"Authorization": f"Bearer {token}"}
        assert refusal(google, headers, play.push.body(**TEST)) == "not_authentic"


@pytest.mark.parametrize("option", ["notification_audience", "notification_email"])
def test_sender__not_configured__sent_again_later(
    garden: App, play: PlayStore, option: str
) -> None:
    app = replace(garden, options={**garden.options, option: ""})
    google = GoogleProvider({PACKAGE: app}.get)
    with pytest.raises(TryAgainError) as later:
        read(google, play, email="")
    assert later.value.code == "platform_misconfigured"


def test_app__nobodys__refused(google: GoogleProvider, play: PlayStore) -> None:
    body = play.push.body(packageName="com.other", **TEST)
    assert refusal(google, play.push.headers(), body) == "unknown_app"


def test_app__another_games__its_own_audience_counts(garden: App, play: PlayStore) -> None:
    options = {**garden.options, "notification_audience": "https://other.example/"}
    other = replace(garden, app_id="com.other", options=options)
    google = GoogleProvider({PACKAGE: garden, "com.other": other}.get)
    read(google, play)
    body = play.push.body(packageName="com.other", **TEST)
    assert refusal(google, play.push.headers(), body) == "not_authentic"
    assert read(google, play, body, aud="https://other.example/").app_id == "com.other"


@pytest.mark.django_db
def test_app__of_the_database__found_unless_switched_off(
    play: PlayStore, garden: App, game: Any
) -> None:
    google = GoogleProvider()
    body = play.push.body(**TEST)
    assert refusal(google, play.push.headers(), body) == "unknown_app"
    app = PlatformApp.objects.create(
        game=game, provider="google", app_id=PACKAGE, options=garden.options
    )
    assert google.read_notice(play.push.headers(), body).app_id == PACKAGE
    PlatformApp.objects.filter(pk=app.pk).update(is_active=False)
    assert refusal(google, play.push.headers(), body) == "unknown_app"


# What is sent


def wrapped(data: Any) -> bytes:
    encoded = base64.b64encode(data if isinstance(data, bytes) else json.dumps(data).encode())
    return json.dumps({"message": {"data": encoded.decode(), "messageId": "1"}}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"message": {}}',
        b'{"message": {"data": "%%%", "messageId": "1"}}',
        b'{"message": {"data": "e30=", "messageId": 1}}',
        wrapped(b"\xff"),
        wrapped([]),
        wrapped({"packageName": PACKAGE}),
        wrapped({"packageName": PACKAGE, "eventTimeMillis": "soon"}),
        wrapped({"packageName": PACKAGE, "eventTimeMillis": 2**62}),
        wrapped({"packageName": 7, "eventTimeMillis": 1}),
    ],
)
def test_body__no_notification__refused(
    google: GoogleProvider, play: PlayStore, body: bytes
) -> None:
    assert refusal(google, play.push.headers(), body) == "malformed_notification"


def test_body__kinds_that_mean_nothing_to_us__resolve_to_nothing(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    for body, kind in (
        (play.push.body(**TEST), "testNotification"),
        (play.push.body(somethingNewNotification={"version": "1"}), "unknown"),
    ):
        notice = read(google, play, body)
        assert notice.kind == kind
        assert google.resolve(garden, notice) == []
    assert play.asked("androidpublisher") == []


def test_data__survives_the_database(google: GoogleProvider, play: PlayStore) -> None:
    notice = read(google, play, play.push.voided(new_token(), "GPA.1"))
    assert json.loads(json.dumps(notice.data)) == notice.data


# The keys


@pytest.mark.parametrize("is_guarded", [True, False], ids=["guarded", "control"])
def test_keys__fetched_once_for_many(
    google: GoogleProvider, play: PlayStore, is_guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_guarded:
        google._keys._lock = nullcontext()  # type: ignore[assignment]  # no lock
        monkeypatch.setattr(google_notices, "COOLDOWN", 0)
    play.fail(Slow(0.2), on="/certs", always=True)
    assert set(at_once(8, lambda _: read(google, play).id)) == {f"{PACKAGE}:136969346945"}
    assert (len(play.asked("/certs")) == 1) is is_guarded


def test_keys__google_signs_with_a_new_one__fetched_again(
    google: GoogleProvider, play: PlayStore, clock: Clock
) -> None:
    read(google, play)
    play.push.rotate()
    clock.now += google_notices.COOLDOWN
    read(google, play)
    assert len(play.asked("/certs")) == 2


def test_keys__forged_key_ids__ask_google_once_in_a_while(
    google: GoogleProvider, play: PlayStore, clock: Clock
) -> None:
    read(google, play)
    for number in range(20):
        play.push.kid = f"forged-{number}"
        assert refusal(google, play.push.headers(), play.push.body(**TEST)) == "not_authentic"
    assert len(play.asked("/certs")) == 1
    play.push.kid = "key-1"
    read(google, play)


@pytest.mark.parametrize(
    "fault", [BROKEN, HTML_200, HANG, Answer(200, {}), Answer(200, {"keys": []})], ids=str
)
def test_keys__can_not_be_had__sent_again_later(
    google: GoogleProvider,
    play: PlayStore,
    clock: Clock,
    fault: Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(google_notices, "TIMEOUT", (1, 0.3))
    play.fail(fault, on="/certs")
    for _ in range(3):
        with pytest.raises(TryAgainError) as later:
            read(google, play)
        assert later.value.code == "platform_unavailable"
    assert len(play.asked("/certs")) == 1
    clock.now += google_notices.COOLDOWN
    read(google, play)


def test_keys__old__fetched_again_and_used_on_if_that_fails(
    google: GoogleProvider, play: PlayStore, clock: Clock
) -> None:
    read(google, play)
    clock.now += google_notices.KEEP_KEYS
    play.fail(BROKEN, on="/certs")
    read(google, play)
    read(google, play)
    assert len(play.asked("/certs")) == 2
    # A key that Google has withdrawn counts no longer.
    withdrawn = play.push.headers()
    play.push.rotate()
    clock.now += google_notices.COOLDOWN
    assert refusal(google, withdrawn, play.push.body(**TEST)) == "not_authentic"


# What comes of it


def test_product__asked_again(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    token = play.sell("gems_small", state="PENDING")
    notice = read(google, play, play.push.product(token, kind=1))
    assert notice.kind == "oneTimeProductNotification 1"
    # It says "purchased", and may have been overtaken.
    assert google.resolve(garden, notice)[0].state == "pending"
    play.pay(token)
    assert google.resolve(garden, notice)[0].state == "purchased"


def test_subscription__asked_again(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    token = play.subscribe()
    notice = read(google, play, play.push.subscription(token, kind=13))
    assert notice.kind == "subscriptionNotification 13"
    (found,) = google.resolve(garden, notice)
    assert found.subscription is not None
    assert found.subscription.phase == "active"
    assert play.asked("productsv2") == []


def test_voided__product(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    token = play.sell("gems_small")
    order_id = play.products[token]["orderId"]
    play.refund(token)
    notice = read(google, play, play.push.voided(token, order_id))
    (found,) = google.resolve(garden, notice)
    assert (found.transaction_id, found.revoked) == (token, WHOLE)
    assert found.revoked_at == notice.signed_at


def test_voided__by_quantity(google: GoogleProvider, garden: App, play: PlayStore) -> None:
    token = play.sell("gems_small", quantity=4)
    play.refund(token, quantity=1)
    notice = read(google, play, play.push.voided(token, "", whole=False))
    (found,) = google.resolve(garden, notice)
    assert found.revoked == WHOLE // 4


@pytest.mark.parametrize("whole", [True, False])
def test_voided__not_to_be_seen_yet__tried_again(
    google: GoogleProvider, garden: App, play: PlayStore, whole: bool
) -> None:
    token = play.sell("gems_small", quantity=2)
    notice = read(google, play, play.push.voided(token, "", whole=whole))
    with pytest.raises(TryAgainError) as later:
        google.resolve(garden, notice)
    assert (later.value.code, later.value.counts) == ("not_visible_yet", False)
    play.refund(token, quantity=None if whole else 1)
    assert google.resolve(garden, notice)[0].revoked > 0


@pytest.mark.parametrize(("share", "low"), [(1, WHOLE), (0.25, 24_000)])
def test_voided__subscriptions_earlier_order__the_latest_stays(
    google: GoogleProvider, garden: App, play: PlayStore, share: float, low: int
) -> None:
    token = play.subscribe()
    order_id = play.renew(token)
    latest = play.renew(token)
    play.refund_order(order_id, share=share)
    notice = read(google, play, play.push.voided(token, order_id, is_subscription=True))
    (found,) = google.resolve(garden, notice)
    assert (found.transaction_id, found.original_id) == (order_id, token)
    assert low <= found.revoked <= WHOLE
    assert found.revoked_at is not None
    assert found.subscription is None
    assert play.asked("productsv2") == []
    renewed = google.resolve(garden, read(google, play, play.push.subscription(token)))
    assert (renewed[0].transaction_id, renewed[0].revoked) == (latest, 0)


def test_voided__subscriptions_latest_order(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.subscribe()
    order_id = play.renew(token)
    play.refund_order(order_id)
    play.subscriptions[token]["subscriptionState"] = "SUBSCRIPTION_STATE_EXPIRED"
    notice = read(google, play, play.push.voided(token, order_id, is_subscription=True))
    (found,) = google.resolve(garden, notice)
    assert (found.transaction_id, found.revoked) == (order_id, WHOLE)
    assert found.subscription is not None
    assert found.subscription.phase == "expired"


def test_notice__of_a_forgotten_purchase__rejected(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.subscribe()
    play.forget(token)
    for body in (
        play.push.subscription(token),
        play.push.voided(token, "GPA.1", is_subscription=True),
        play.push.voided(token, "GPA.1"),
    ):
        with pytest.raises(RejectedError):
            google.resolve(garden, read(google, play, body))
