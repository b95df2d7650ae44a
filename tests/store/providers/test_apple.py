"""Apple's purchases: what a signed transaction is worth, and when the App Store is asked."""

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload
from django.test import override_settings

from store.providers import apple_purchases, apple_signed
from store.providers.apple import AppleProvider
from store.providers.base import (
    WHOLE,
    App,
    Environment,
    Kind,
    MisconfiguredError,
    RejectedError,
    State,
    TryAgainError,
    Verified,
)
from tests.fakes.app_store import AppStore
from tests.fakes.apple_ca import Authority
from tests.fakes.apple_sales import DURABLE, PASS
from tests.fakes.faults import BROKEN, HANG, Answer
from tests.store.providers.apple_setup import app_of
from tests.threads import at_once

API = "/inApps/"
# Tags of ASN.1.
SEQUENCE, SET, OCTETS, CONTEXT = 0x30, 0x31, 0x04, 0xA0


def verify(apple: AppleProvider, app: App, receipt: Any) -> list[Verified]:
    return apple.verify(app, apple.read_receipt(receipt))


def refusal(apple: AppleProvider, app: App, receipt: Any) -> str:
    with pytest.raises(RejectedError) as refused:
        verify(apple, app, receipt)
    return refused.value.code


def test_a_fresh_signature_is_the_whole_truth(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    player = uuid4()
    number = app_store.buy("gems_100", quantity=3, account=player, price=14_970)
    [line] = verify(apple, app, {"jws": app_store.jws(number)})
    assert (line.transaction_id, line.original_id, line.product) == (number, number, "gems_100")
    assert (line.environment, line.app_id) == (Environment.PRODUCTION, app.app_id)
    assert (line.state, line.kind, line.quantity) == (State.PURCHASED, Kind.CONSUMABLE, 3)
    assert (line.account, line.revoked, line.must_tell) == (player, 0, False)
    assert (line.price_minor_units, line.price_currency, line.country) == (1497, "USD", "US")
    assert app_store.now() - line.signed_at < timedelta(seconds=10)
    assert line.purchased_at
    assert not app_store.asked(API)
    # What OCSP said is kept: the second costs no request at all.
    verify(apple, app, {"jws": app_store.jws(app_store.buy())})
    assert len(app_store.asked("/ocsp")) == 2


def test_one_that_was_signed_long_ago_is_asked_for_again(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy()
    old = app_store.jws(number, at=app_store.now() - timedelta(hours=2))
    app_store.refund(number)
    [line] = verify(apple, app, {"jws": old})
    assert line.revoked == WHOLE
    assert len(app_store.asked(API)) == 1


def test_one_from_the_future_is_asked_for_again(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy()
    verify(apple, app, {"jws": app_store.jws(number, at=app_store.now() + timedelta(hours=1))})
    assert len(app_store.asked(API)) == 1


def test_one_whose_leaf_has_expired_is_asked_for_again(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy()
    leaf = app_store.authority.new_leaf(valid_for=-timedelta(minutes=10))
    then = app_store.now() - timedelta(minutes=20)
    [line] = verify(apple, app, {"jws": app_store.jws(number, leaf=leaf, at=then)})
    assert line.transaction_id == number
    assert line.signed_at > then + timedelta(minutes=10)
    assert len(app_store.asked(API)) == 1


def test_one_whose_leaf_is_revoked_is_asked_for_again(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    leaf = app_store.authority.new_leaf()
    app_store.authority.revoked.add(leaf.certificate.serial_number)
    number = app_store.buy()
    forged = app_store.jws(number, leaf=leaf, productId="gems_100000")
    [line] = verify(apple, app, {"jws": forged})
    assert line.product == "gems_100"


def test_while_ocsp_is_down_the_app_store_is_asked_and_nobody_waits_twice(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    app_store.fail(BROKEN, on="/ocsp", always=True)
    for _ in range(3):
        verify(apple, app, {"jws": app_store.jws(app_store.buy())})
    assert (len(app_store.asked("/ocsp")), len(app_store.asked(API))) == (1, 3)


def test_while_the_app_store_is_down_a_fresh_signature_is_enough(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    app_store.fail(BROKEN, on=API, always=True)
    number = app_store.buy()
    assert verify(apple, app, {"jws": app_store.jws(number)})
    with pytest.raises(TryAgainError):
        verify(apple, app, {"transaction_id": number})


def test_a_transaction_that_apple_signed_and_does_not_know_yet(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy()
    old = app_store.jws(number, at=app_store.now() - timedelta(hours=2))
    del app_store.transactions[number]
    with pytest.raises(TryAgainError) as again:
        verify(apple, app, {"jws": old})
    assert not again.value.counts


def test_what_apple_did_not_sign(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    number, authority = app_store.buy(), app_store.authority
    head, body, signature = app_store.jws(number).split(".")
    other = app_store.jws(app_store.buy("gems_9")).split(".")[1]
    app_store.authority = Authority(authority.responder)
    foreign = app_store.jws(number)
    app_store.authority = authority
    unsigned = "eyJhbGciOiJub25lIn0"
    for jws in (
        foreign,
        f"{head}.{other}.{signature}",
        f"{unsigned}.{body}.{signature}",
        app_store.jws(number, leaf=authority.new_leaf(mark="1.2.3")),
        # Signed before its leaf was issued.
        app_store.jws(number, leaf=authority.new_leaf(age=timedelta()), signedDate=1_000_000),
    ):
        assert refusal(apple, app, {"jws": jws}) == "bad_signature"
    assert not app_store.seen


@pytest.mark.parametrize("environment", ["Xcode", "LocalTesting", "", None, 5])
def test_environments_without_signatures_are_none(
    apple: AppleProvider, app: App, app_store: AppStore, environment: Any
) -> None:
    jws = app_store.jws(app_store.buy(), environment=environment)
    assert refusal(apple, app, {"jws": jws}) == "wrong_environment"
    unsigned = f"e30.{jws.split('.')[1]}.e30"
    assert refusal(apple, app, {"jws": unsigned}) == "wrong_environment"
    assert {env.value for env in apple_signed.ENVIRONMENTS.values()} == {"Production", "Sandbox"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bundleId": "com.other.game"}, "wrong_app"),
        ({"bundleId": None}, "wrong_app"),
        ({"transactionId": None}, "malformed_receipt"),
        ({"productId": None}, "malformed_receipt"),
        ({"productId": "p" * 256}, "malformed_receipt"),
        ({"quantity": 0}, "malformed_receipt"),
        ({"quantity": 11}, "malformed_receipt"),
        ({"quantity": 2, "type": DURABLE}, "malformed_receipt"),
        ({"signedDate": None}, "malformed_receipt"),
        ({"signedDate": 10**18}, "bad_signature"),
        ({"inAppOwnershipType": "FAMILY_SHARED"}, "family_shared"),
        # Signed, but of another kind: a field of another type.
        ({"purchaseDate": {"a": 1}}, "malformed_receipt"),
        ({"quantity": "three"}, "malformed_receipt"),
        ({"purchaseDate": 10**18}, "malformed_receipt"),
    ],
)
def test_a_good_signature_under_a_wrong_transaction(
    apple: AppleProvider, app: App, app_store: AppStore, changes: dict[str, Any], code: str
) -> None:
    jws = app_store.jws(app_store.buy(), **changes)
    assert refusal(apple, app, {"jws": jws}) == code


def test_the_app_is_compared_by_us_as_well(app: App) -> None:
    said = JWSTransactionDecodedPayload(bundleId="com.other.game", transactionId="1")
    with pytest.raises(RejectedError) as refused:
        apple_purchases.verified(app, Environment.PRODUCTION, said)
    assert refused.value.code == "wrong_app"


def test_a_notification_is_no_receipt(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    assert refusal(apple, app, {"jws": app_store.notify("TEST")}) == "wrong_environment"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"type": DURABLE}, {"kind": Kind.DURABLE}),
        ({"type": PASS}, {"kind": Kind.CONSUMABLE}),
        ({"type": "Novelty"}, {"kind": Kind.UNKNOWN}),
        ({"type": None, "quantity": None}, {"kind": Kind.UNKNOWN, "quantity": 1}),
        ({"type": DURABLE, "inAppOwnershipType": "FAMILY_SHARED"}, {"is_family_shared": True}),
        ({"type": DURABLE, "inAppOwnershipType": "NOVELTY"}, {"is_family_shared": True}),
        ({"inAppOwnershipType": None}, {"is_family_shared": False}),
        ({"appAccountToken": str(UUID(int=0))}, {"account": None}),
        ({"appAccountToken": "player 7"}, {"account": None}),
        ({"price": 500_000, "currency": "JPY"}, {"price_minor_units": 500}),
        ({"price": 1_234, "currency": "KWD"}, {"price_minor_units": 1234}),
        ({"price": None, "currency": None}, {"price_minor_units": None, "price_currency": ""}),
        ({"storefront": "DEU"}, {"country": "DE"}),
        ({"storefront": "???"}, {"country": ""}),
        ({"storefront": None, "purchaseDate": None}, {"country": "", "purchased_at": None}),
    ],
)
def test_what_is_read_of_a_transaction(
    apple: AppleProvider,
    app: App,
    app_store: AppStore,
    changes: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    [line] = verify(apple, app, {"jws": app_store.jws(app_store.buy(), **changes)})
    assert {name: getattr(line, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "revoked"),
    [
        ({"revocationReason": 0}, 0),  # a reason without a date is no refund
        ({"revocationDate": 1_700_000_000_000, "revocationReason": 0}, WHOLE),
        ({"revocationDate": 1_700_000_000_000}, WHOLE),
        ({"revocationDate": 1, "revocationType": "REFUND_FULL", "revocationPercentage": 0}, WHOLE),
        ({"revocationDate": 1, "revocationType": "FAMILY_REVOKE"}, WHOLE),
        (
            {"revocationDate": 1, "revocationType": "REFUND_PRORATED", "revocationPercentage": 15},
            15,
        ),
        ({"revocationDate": 1, "revocationPercentage": 67_932}, 67_932),
        ({"revocationDate": 1, "revocationType": "REFUND_PRORATED", "revocationPercentage": 0}, 1),
        ({"revocationDate": 1, "revocationPercentage": 999_999}, WHOLE),
    ],
)
def test_how_much_was_taken_back(
    apple: AppleProvider, app: App, app_store: AppStore, changes: dict[str, Any], revoked: int
) -> None:
    [line] = verify(apple, app, {"jws": app_store.jws(app_store.buy(), **changes)})
    assert line.revoked == revoked
    assert (line.revoked_at is not None) == (revoked > 0)


def test_an_id_alone_is_asked_for_in_production_and_then_in_the_sandbox(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    real, test = app_store.buy(), app_store.buy(sandbox=True)
    assert verify(apple, app, {"TransactionID": real})[0].environment is Environment.PRODUCTION
    assert verify(apple, app, {"TransactionID": test})[0].environment is Environment.SANDBOX
    assert refusal(apple, app, {"TransactionID": "77"}) == "unknown_transaction"
    places = [request.path.split("/")[1] for request in app_store.asked(API)]
    assert places == ["production", "production", "sandbox", "production", "sandbox"]


def test_before_its_release_an_app_is_refused_in_production_only(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    app_store.fail(Answer(401, b"Unauthenticated"), on="^/production", always=True)
    number = app_store.buy(sandbox=True)
    assert verify(apple, app, {"TransactionID": number})[0].transaction_id == number
    # The key may just as well be wrong: then nobody's purchase is called unknown.
    with pytest.raises(MisconfiguredError):
        verify(apple, app, {"TransactionID": "77"})


def test_the_environment_of_a_signature_is_the_only_one_that_is_asked(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    number = app_store.buy(sandbox=True)
    old = app_store.jws(number, at=app_store.now() - timedelta(days=1))
    assert verify(apple, app, {"jws": old})[0].environment is Environment.SANDBOX
    assert [request.path.split("/")[1] for request in app_store.asked(API)] == ["sandbox"]
    # A sandbox purchase does not become a real one by saying so.
    claims = app_store.jws(number, at=app_store.now() - timedelta(days=1), environment="Production")
    with pytest.raises(TryAgainError):
        verify(apple, app, {"jws": claims})


def test_look_up_says_what_is_so_now(apple: AppleProvider, app: App, app_store: AppStore) -> None:
    number = app_store.buy()
    [before] = verify(apple, app, {"jws": app_store.jws(number)})
    app_store.refund(number, percentage=40_000)
    [now] = apple.look_up(app, before)
    assert (now.revoked, now.signed_at >= before.signed_at) == (40_000, True)
    app_store.reverse_refund(number)
    assert apple.look_up(app, before)[0].revoked == 0
    apple.tell(app, before, consume=True)  # twice or never: Apple waits for nothing


def test_an_app_receipt_brings_the_customers_latest(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    numbers = [app_store.buy(f"gems_{n}") for n in range(22)]
    original = app_store.subscribe()
    latest = app_store.renew(original)
    app_store.buy(inAppOwnershipType="FAMILY_SHARED")
    found = verify(apple, app, {"Store": "AppleAppStore", "Payload": app_receipt(numbers[0])})
    ids = [line.transaction_id for line in found]
    assert ids[0] == latest
    assert original not in ids
    assert ids[1:] == list(reversed(numbers))[:17]


def test_an_app_receipt_without_purchases_or_of_nothing(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    def of(payload: str) -> dict[str, str]:
        return {"Store": "AppleAppStore", "Payload": payload}

    assert refusal(apple, app, of("AAAA")) == "malformed_receipt"
    assert refusal(apple, app, of(app_receipt(""))) == "empty_receipt"
    assert refusal(apple, app, of(app_receipt("../../x"))) == "empty_receipt"
    assert refusal(apple, app, of(app_receipt("77"))) == "unknown_transaction"


def app_receipt(number: str) -> str:
    """PKCS#7 around the attributes of a receipt with one purchase, as far as anybody reads it."""

    def der(tag: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return bytes([tag, 0x81, len(content)]) + content

    def attribute(kind: int, value: bytes) -> bytes:
        numbers = der(0x02, kind.to_bytes(1 + (kind > 127), "big")), der(0x02, b"\x01")
        return der(SEQUENCE, *numbers, der(OCTETS, value))

    purchase = der(SET, attribute(1703, der(0x0C, number.encode())))
    receipt = der(SET, attribute(2, b"bundle"), attribute(17, purchase) if number else b"")
    oid = bytes.fromhex("2a864886f70d0107")
    content = der(SEQUENCE, der(0x06, oid + b"\x01"), der(CONTEXT, der(OCTETS, receipt)))
    signed = der(SEQUENCE, der(0x02, b"\x01"), der(SET), content)
    whole = der(SEQUENCE, der(0x06, oid + b"\x02"), der(CONTEXT, signed))
    return base64.b64encode(whole).decode()


def test_settings_that_are_wrong_lose_nobodys_purchase(
    apple: AppleProvider, app_store: AppStore
) -> None:
    receipt = {"jws": app_store.jws(app_store.buy())}
    for options in ({"app_apple_id": None}, {"app_apple_id": "x"}, {"app_apple_id": True}):
        with pytest.raises(MisconfiguredError):
            verify(apple, app_of(app_store, **options), receipt)
    app_of_words = app_of(app_store, app_apple_id=str(app_store.app_apple_id))
    assert verify(apple, app_of_words, receipt)
    with (
        override_settings(APPLE_ROOT_CERTIFICATES=["/nowhere.pem"]),
        pytest.raises(MisconfiguredError, match="nowhere"),
    ):
        verify(apple, app_of_words, receipt)
    with override_settings(APPLE_ROOT_CERTIFICATES=[]):  # Apple's own, which did not sign this
        assert refusal(apple, app_of_words, receipt) == "bad_signature"


def test_a_hanging_ocsp_server_is_given_up(
    app: App, app_store: AppStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own patience is 30 seconds; what is checked is what follows from it."""
    real = requests.post

    def impatient(*args: Any, **more: Any) -> requests.Response:
        return real(*args, **more | {"timeout": 0.2})

    monkeypatch.setattr(requests, "post", impatient)
    app_store.fail(HANG, on="/ocsp")
    apple = AppleProvider()
    assert verify(apple, app, {"jws": app_store.jws(app_store.buy())})
    assert len(app_store.asked(API)) == 1


def test_many_threads_share_one_verifier(
    apple: AppleProvider, app: App, app_store: AppStore
) -> None:
    numbers = [app_store.buy() for _ in range(16)]
    receipts = [app_store.jws(number) for number in numbers]
    found = at_once(16, lambda n: verify(apple, app, {"jws": receipts[n]}))
    ids = [lines[0].transaction_id for lines in found if not isinstance(lines, Exception)]
    assert ids == numbers
    before = len(app_store.seen)
    at_once(16, lambda n: verify(apple, app, {"jws": receipts[n]}))
    assert len(app_store.seen) == before  # what OCSP said is known to all of them
