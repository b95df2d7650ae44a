"""What clients send for Google Play, in every shape that Unity ever gave it."""

import json
from time import time
from typing import Any

import pytest

from store.providers.base import App, MisconfiguredError, Receipt, RejectedError, TryAgainError
from store.providers.google import GoogleProvider
from tests.fakes.play_keys import OTHER_KEY, PACKAGE, license_key, sign_receipt
from tests.fakes.play_sales import new_token
from tests.fakes.play_store import PlayStore

TOKEN = "abcdefghijklmnop.AO-J1Oz0123456789_-abcdefghijklmnopqrstuvwxyz"
EC_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjTc8wYxDsIAX0FZ9Au1vu+MTokwo4XvgXDsU7/ECyD6y"
    "1Qj3RepxghE5BLVHXqZZirn/7w5uFyJ6Ksr7GIuq3w=="
)
ORDER_ID = "GPA.3345-1234-5678-90123"


def device_json(token: str = TOKEN, **changes: Any) -> str:
    """What Play Billing gives the game for a purchase."""
    purchase = {
        "orderId": ORDER_ID,
        "packageName": PACKAGE,
        "productId": "gems_small",
        "purchaseTime": 1_700_000_000_000,
        "purchaseState": 0,
        "purchaseToken": token,
        "quantity": 1,
        "acknowledged": False,
    }
    return json.dumps(purchase | changes)


def unity(
    text: Any, transaction_id: str | None = TOKEN, signature: str | None = "c2ln", **more: Any
) -> dict[str, Any]:
    """As Unity IAP 5.4 sends it."""
    payload = {"json": text, "signature": signature, "skuDetails": ["{}"]} | more
    receipt = {"Store": "GooglePlay", "Payload": json.dumps(payload)}
    return receipt if transaction_id is None else receipt | {"TransactionID": transaction_id}


def signed(token: str, key: str = "license", **changes: Any) -> dict[str, Any]:
    text = device_json(token, **changes)
    return unity(text, token, sign_receipt(text, key))


@pytest.fixture
def provider() -> GoogleProvider:
    return GoogleProvider(lambda _: None)


def test_unity__as_it_is_now__token_and_product(provider: GoogleProvider) -> None:
    text = device_json()
    receipt = provider.read_receipt(unity(text))
    assert receipt == Receipt(
        identity=TOKEN,
        data={
            "token": TOKEN,
            "package": PACKAGE,
            "subscription": False,
            "json": text,
            "signature": "c2ln",
        },
        product="gems_small",
    )


@pytest.mark.parametrize(
    "receipt",
    [
        {"token": TOKEN},
        {"purchaseToken": TOKEN, "productId": "gems_small"},
        json.dumps({"token": TOKEN}),
        unity(device_json(), transaction_id=ORDER_ID),
        unity(device_json(), transaction_id=None),
        unity(device_json(), skuDetails="{}"),
        json.dumps(unity(device_json())),
        unity(json.loads(device_json())),
        {"Store": "GooglePlay", "Payload": {"json": device_json(), "signature": "c2ln"}},
        {"Store": "GooglePlay", "Payload": {"json": json.loads(device_json())}},
        {"Store": "GooglePlay", "TransactionID": TOKEN, "Payload": json.dumps({"json": "{}"})},
        {"Store": "GooglePlay", "TransactionID": TOKEN, "Payload": {}},
        {"json": device_json(), "signature": "c2ln"},
    ],
    ids=lambda receipt: str(receipt)[:50],
)
def test_receipt__older_and_looser_shapes__same_identity(
    provider: GoogleProvider, receipt: Any
) -> None:
    found = provider.read_receipt(receipt)
    assert found.identity == found.data["token"] == TOKEN
    assert json.loads(json.dumps(found.data)) == found.data


@pytest.mark.parametrize(
    ("receipt", "code"),
    [
        (
            {"Store": "fake", "Payload": "ThisIsFakeReceiptData", "TransactionID": "x"},
            "fake_receipt",
        ),
        ({"Store": "GooglePlay", "Payload": "ThisIsFakeReceiptData"}, "fake_receipt"),
        ("ThisIsFakeReceiptData", "fake_receipt"),
        ({}, "malformed_receipt"),
        (None, "malformed_receipt"),
        ([TOKEN], "malformed_receipt"),
        ("{", "malformed_receipt"),
        ("[" * 100_000, "malformed_receipt"),
        ({"token": 7}, "malformed_receipt"),
        ({"token": "short"}, "malformed_receipt"),
        ({"token": ".."}, "malformed_receipt"),
        ({"token": f"{TOKEN} "}, "malformed_receipt"),
        ({"token": f"{TOKEN}?x=1#y"}, "malformed_receipt"),
        ({"token": "a" * 1501}, "malformed_receipt"),
        (unity("{}", transaction_id=ORDER_ID), "malformed_receipt"),
        (unity("{}", transaction_id="12999763169054705758.1361588124364"), "malformed_receipt"),
        (unity(7), "malformed_receipt"),
        (unity("x"), "malformed_receipt"),
        (unity(device_json(x="x" * 20_000)), "malformed_receipt"),
        (unity(device_json(), signature="x" * 5_000), "malformed_receipt"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_receipt__no_receipt_of_google_play__rejected(
    provider: GoogleProvider, receipt: Any, code: str
) -> None:
    with pytest.raises(RejectedError) as refusal:
        provider.read_receipt(receipt)
    assert refusal.value.code == code


def test_receipt__strange_product__not_shown(provider: GoogleProvider) -> None:
    assert provider.read_receipt({"token": TOKEN, "product": "<b>"}).product == ""
    assert provider.read_receipt({"token": TOKEN, "product": ["x"]}).product == ""


def test_state__in_the_clients_receipt__is_not_believed(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small", state="PENDING")
    receipt = google.read_receipt(unity(device_json(token, purchaseState=0), token))
    (found,) = google.verify(garden, receipt)
    assert found.state == "pending"
    play.pay(token)
    cancelled = google.read_receipt(unity(device_json(token, purchaseState=1), token))
    assert google.verify(garden, cancelled)[0].state == "purchased"


def test_product__in_the_clients_receipt__is_not_believed(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small", quantity=1)
    receipt = google.read_receipt({"token": token, "product": "gems_huge"})
    (found,) = google.verify(garden, receipt)
    assert (found.product, found.line) == ("gems_small", "gems_small")


def test_package__of_another_app__rejected_without_asking(
    google: GoogleProvider, garden: App, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    receipt = google.read_receipt(unity(device_json(token, packageName="com.other"), token))
    with pytest.raises(RejectedError) as refusal:
        google.verify(garden, receipt)
    assert refusal.value.code == "wrong_app"
    assert play.seen == []


# The license key


@pytest.fixture
def strict(garden: App) -> App:
    return App(garden.app_id, {**garden.options, "license_key": license_key()}, garden.secret)


def test_signature__googles__passes(google: GoogleProvider, strict: App, play: PlayStore) -> None:
    token = play.sell("gems_small")
    assert google.verify(strict, google.read_receipt(signed(token)))[0].token == token


@pytest.mark.parametrize("how", ["another key", "another text", "no base64"])
def test_signature__forged__rejected_without_asking(
    google: GoogleProvider, strict: App, garden: App, play: PlayStore, how: str
) -> None:
    token = play.sell("gems_small")
    text = device_json(token)
    signature = {
        "another key": sign_receipt(text, OTHER_KEY),
        "another text": sign_receipt(f"{text} "),
        "no base64": "§",
    }[how]
    receipt = google.read_receipt(unity(text, token, signature))
    with pytest.raises(RejectedError) as refusal:
        google.verify(strict, receipt)
    assert refusal.value.code == "bad_signature"
    assert play.seen == []
    # Without the key, the verdict is Google's alone.
    assert google.verify(garden, receipt)[0].token == token


def test_signature__is_over_the_exact_text(
    google: GoogleProvider, strict: App, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    text = f'  {{"purchaseToken":\t"{token}", "packageName": "{PACKAGE}", "x": "\\u00e9 ü"}}  '
    receipt = google.read_receipt(unity(text, token, sign_receipt(text)))
    assert google.verify(strict, receipt)[0].token == token


def test_signature__missing__the_verdict_is_googles(
    google: GoogleProvider, strict: App, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    assert google.verify(strict, google.read_receipt({"token": token}))[0].token == token


# The last is a key, but of an elliptic curve.
@pytest.mark.parametrize("key", ["§", "c2ln", 7, EC_KEY])
def test_license_key__no_key__misconfigured(
    google: GoogleProvider, garden: App, play: PlayStore, key: Any
) -> None:
    app = App(garden.app_id, {"license_key": key}, garden.secret)
    with pytest.raises(MisconfiguredError):
        google.verify(app, google.read_receipt(signed(play.sell("gems_small"))))


def test_signed_a_moment_ago__not_found__tried_again(
    google: GoogleProvider, strict: App, garden: App, play: PlayStore
) -> None:
    receipt = google.read_receipt(signed(new_token(), purchaseTime=int(time() * 1000)))
    with pytest.raises(TryAgainError) as later:
        google.verify(strict, receipt)
    assert later.value.code == "not_visible_yet"
    assert not later.value.counts
    # Nobody knows whether Google signed it.
    with pytest.raises(RejectedError):
        google.verify(garden, receipt)


@pytest.mark.parametrize("at", [1_700_000_000_000, "now", None])
def test_signed_long_ago__not_found__rejected(
    google: GoogleProvider, strict: App, play: PlayStore, at: Any
) -> None:
    with pytest.raises(RejectedError) as refusal:
        google.verify(strict, google.read_receipt(signed(new_token(), purchaseTime=at)))
    assert refusal.value.code == "unknown_transaction"
