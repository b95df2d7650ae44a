"""What clients send as Apple's receipt: every shape that was seen, and what must not get by."""

import base64
import json
from typing import Any

import pytest

from store.providers.apple import AppleProvider
from store.providers.base import RejectedError
from tests.fakes.app_store import AppStore

NUMBER = "2000000000000001"
APP_RECEIPT = base64.b64encode(b"a PKCS#7 container").decode()
apple = AppleProvider()


@pytest.fixture
def jws(app_store: AppStore) -> str:
    assert app_store.buy("gems_100") == NUMBER
    return app_store.jws(NUMBER)


@pytest.mark.parametrize(
    "shape",
    [
        lambda jws: {"jws": jws},
        lambda jws: jws,
        lambda jws: json.dumps({"jws": jws}),
        lambda jws: {"jwsRepresentation": jws},
        lambda jws: {
            "Store": "AppleAppStore",
            "TransactionID": NUMBER,
            "Payload": APP_RECEIPT,
            "jws": jws,
        },
        lambda jws: {"Store": "MacAppStore", "Payload": jws},
        lambda jws: {"Store": "AppleAppStore", "Payload": {"jwsRepresentation": jws}},
        lambda jws: {"Store": "AppleAppStore", "Payload": json.dumps({"jws": jws})},
        # What is signed counts: the id beside it is the client's word.
        lambda jws: {"jws": jws, "TransactionID": "999"},
    ],
)
def test_a_signed_transaction_is_found_in_every_shape(shape: Any, jws: str) -> None:
    receipt = apple.read_receipt(shape(jws))
    assert receipt.data == {"jws": jws, "transaction_id": NUMBER}
    assert (receipt.identity, receipt.product) == (NUMBER, "gems_100")


def test_two_signatures_of_one_transaction_are_one_receipt(app_store: AppStore) -> None:
    number = app_store.buy()
    first, second = app_store.jws(number), app_store.jws(number, signedDate=1)
    assert first != second
    assert {apple.read_receipt({"jws": jws}).identity for jws in (first, second)} == {number}


@pytest.mark.parametrize(
    "receipt",
    [
        {"Store": "AppleAppStore", "TransactionID": NUMBER, "Payload": APP_RECEIPT},
        {"Store": "AppleAppStore", "TransactionID": int(NUMBER), "Payload": ""},
        {"Store": "AppleAppStore", "TransactionID": NUMBER, "Payload": {}},
        {"Store": "AppleAppStore", "Payload": {"transactionId": NUMBER}},
        {"transaction_id": NUMBER},
        json.dumps({"Store": "AppleAppStore", "TransactionID": NUMBER, "Payload": APP_RECEIPT}),
    ],
)
def test_without_a_signature_the_id_names_the_receipt(receipt: Any) -> None:
    read = apple.read_receipt(receipt)
    assert (read.identity, read.data) == (NUMBER, {"transaction_id": NUMBER})


@pytest.mark.parametrize("extra", [{}, {"TransactionID": None}, {"TransactionID": ""}])
def test_without_an_id_the_app_receipt_is_kept(extra: dict[str, Any]) -> None:
    read = apple.read_receipt({"Store": "AppleAppStore", "Payload": APP_RECEIPT, **extra})
    assert read.data == {"app_receipt": APP_RECEIPT}
    assert read.identity.startswith("sha256:")


@pytest.mark.parametrize(
    "number",
    [
        "../../../evil?x=1#",
        "0",
        "01",
        "-1",
        "1" * 21,
        "1\n",
        "１２３",
        " 1",
        "1/2",
        1.5,
        0,
        10**20,
        pytest.param(10**5000, id="a long number"),
        True,
        ["1"],
        {"a": 1},
    ],
)
def test_an_id_that_is_no_number_never_gets_to_an_address(number: Any) -> None:
    with pytest.raises(RejectedError) as refused:
        apple.read_receipt({"Store": "AppleAppStore", "TransactionID": number, "Payload": "x"})
    assert refused.value.code == "malformed_receipt"


@pytest.mark.parametrize(
    ("receipt", "code"),
    [
        ({"Store": "fake", "TransactionID": NUMBER, "Payload": "{}"}, "fake_receipt"),
        ({"Store": "GooglePlay", "TransactionID": NUMBER, "Payload": "{}"}, "malformed_receipt"),
        ({"Store": "AppleAppStore", "Payload": "ThisIsFakeReceiptData"}, "malformed_receipt"),
        ({}, "malformed_receipt"),
        (None, "malformed_receipt"),
        ([1], "malformed_receipt"),
        ("", "malformed_receipt"),
        ("{not json", "malformed_receipt"),
        ({"jws": "a.b"}, "malformed_receipt"),
        ({"jws": "a.b.c"}, "malformed_receipt"),
        ({"jws": "e30.bnVsbA.e30"}, "malformed_receipt"),
        ({"jws": "é.é.é"}, "malformed_receipt"),
        ({"jws": "a." + "W1" * 40_000 + ".c"}, "malformed_receipt"),
        (
            {"jws": "e30." + base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".c"},
            "malformed_receipt",
        ),
        ('{"a":' * 5_000, "malformed_receipt"),
    ],
)
def test_what_is_no_receipt_is_refused_at_once(receipt: Any, code: str) -> None:
    with pytest.raises(RejectedError) as refused:
        apple.read_receipt(receipt)
    assert refused.value.code == code


def test_a_signed_transaction_without_a_proper_id(app_store: AppStore) -> None:
    number = app_store.buy()
    without = app_store.jws(number, transactionId=None)
    assert apple.read_receipt({"jws": without}).identity.startswith("sha256:")
    with pytest.raises(RejectedError):
        apple.read_receipt({"jws": app_store.jws(number, transactionId="../x")})


@pytest.mark.parametrize("product", ["gems\0", 5, None, ["gems"], "\u2028"])
def test_a_product_that_cannot_be_shown_is_left_out(app_store: AppStore, product: Any) -> None:
    jws = app_store.jws(app_store.buy(), productId=product)
    assert apple.read_receipt({"jws": jws}).product == ""
