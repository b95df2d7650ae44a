"""Apple's own library judges the fake: what it accepts there, it would accept from Apple."""

from pathlib import Path

import pytest
from appstoreserverlibrary.api_client import (
    APIException,
    AppStoreServerAPIClient,
    GetTransactionHistoryVersion,
)
from appstoreserverlibrary.models.Environment import Environment
from appstoreserverlibrary.models.NotificationHistoryRequest import NotificationHistoryRequest
from appstoreserverlibrary.models.NotificationTypeV2 import NotificationTypeV2
from appstoreserverlibrary.models.Status import Status
from appstoreserverlibrary.models.TransactionHistoryRequest import TransactionHistoryRequest
from appstoreserverlibrary.signed_data_verifier import (
    SignedDataVerifier,
    VerificationException,
    VerificationStatus,
)
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from store.providers.apple_roots import APPLE_ROOT_CA_G3
from tests.fakes.app_store import AppStore
from tests.fakes.apple_ca import Authority
from tests.fakes.apple_sales import GRACE, ms

FINGERPRINT = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"


def client(
    store: AppStore, environment: Environment = Environment.PRODUCTION
) -> AppStoreServerAPIClient:
    made = AppStoreServerAPIClient(
        store.secret.encode(), store.key_id, store.issuer_id, store.bundle_id, environment
    )
    made._base_url = f"{store.url}/{environment.value.lower()}"
    return made


def verifier(store: AppStore, *, online: bool = True) -> SignedDataVerifier:
    return SignedDataVerifier(
        [store.authority.root.certificate.public_bytes(Encoding.DER)],
        online,
        Environment.PRODUCTION,
        store.bundle_id,
        store.app_apple_id,
    )


def test_a_transaction_and_a_refund(app_store: AppStore) -> None:
    number = app_store.buy("gems_100", quantity=3)
    answer = client(app_store).get_transaction_info(number)
    said = verifier(app_store).verify_and_decode_signed_transaction(
        answer.signedTransactionInfo or ""
    )
    assert (said.transactionId, said.productId, said.quantity) == (number, "gems_100", 3)
    assert len(app_store.asked("/ocsp")) == 2  # the intermediate's and the leaf's
    app_store.refund(number, percentage=33_333)
    history = client(app_store).get_refund_history(number, None)
    [signed] = history.signedTransactions or []
    said = verifier(app_store).verify_and_decode_signed_transaction(signed)
    assert (said.revocationPercentage, said.rawRevocationReason) == (33_333, 0)


def test_a_subscription_and_a_history_of_pages(app_store: AppStore) -> None:
    original = app_store.subscribe()
    for _ in range(24):
        app_store.renew(original)
    app_store.become(original, GRACE, gracePeriodExpiresDate=ms(app_store.now()))
    statuses = client(app_store).get_all_subscription_statuses(original)
    [item] = (statuses.data or [])[0].lastTransactions or []
    assert item.status is Status.BILLING_GRACE_PERIOD
    renewal = verifier(app_store).verify_and_decode_renewal_info(item.signedRenewalInfo or "")
    assert renewal.gracePeriodExpiresDate
    asked = TransactionHistoryRequest()
    v2 = GetTransactionHistoryVersion.V2
    first = client(app_store).get_transaction_history(original, None, asked, v2)
    second = client(app_store).get_transaction_history(original, first.revision, asked, v2)
    assert (len(first.signedTransactions or []), first.hasMore) == (20, True)
    assert (len(second.signedTransactions or []), second.hasMore) == (5, False)


def test_notifications_and_their_history(app_store: AppStore) -> None:
    number = app_store.buy()
    for _ in range(21):
        app_store.refund(number)
    client(app_store).request_test_notification()
    asked = NotificationHistoryRequest(
        startDate=ms(app_store.now()) - 3_600_000, endDate=ms(app_store.now()) + 1000
    )
    first = client(app_store).get_notification_history(None, asked)
    second = client(app_store).get_notification_history(first.paginationToken, asked)
    assert [len(page.notificationHistory or []) for page in (first, second)] == [20, 2]
    said = [
        verifier(app_store).verify_and_decode_notification(item.signedPayload or "")
        for item in (second.notificationHistory or [])
    ]
    assert [one.notificationType for one in said] == [
        NotificationTypeV2.REFUND,
        NotificationTypeV2.TEST,
    ]
    assert (
        client(app_store, Environment.SANDBOX)
        .get_notification_history(None, asked)
        .notificationHistory
        == []
    )


def test_errors_have_apples_numbers(app_store: AppStore) -> None:
    number = app_store.buy(sandbox=True)
    assert client(app_store, Environment.SANDBOX).get_transaction_info(number).signedTransactionInfo
    for wrong, code in ((number, 4040010), ("0", 4000006)):
        with pytest.raises(APIException) as refused:
            client(app_store).get_transaction_info(wrong)
        assert refused.value.raw_api_error == code
    stranger = client(app_store)
    stranger._key_id = "OTHER"
    with pytest.raises(APIException) as refused:
        stranger.get_transaction_info(number)
    assert refused.value.http_status_code == 401


def status_of(store: AppStore, jws: str, *, online: bool) -> VerificationStatus:
    try:
        verifier(store, online=online).verify_and_decode_signed_transaction(jws)
    except VerificationException as error:
        return error.status
    return VerificationStatus.OK


def test_the_library_refuses_the_authoritys_bad_certificates(app_store: AppStore) -> None:
    number, authority = app_store.buy(), app_store.authority
    bad = VerificationStatus.VERIFICATION_FAILURE
    unmarked = app_store.jws(number, leaf=authority.new_leaf(mark="1.2.3"))
    assert status_of(app_store, unmarked, online=False) == bad
    app_store.authority = Authority(authority.responder)
    foreign = app_store.jws(number)
    app_store.authority = authority
    assert status_of(app_store, foreign, online=False) == bad
    leaf = authority.new_leaf()
    authority.revoked.add(leaf.certificate.serial_number)
    revoked = app_store.jws(number, leaf=leaf)
    assert status_of(app_store, revoked, online=False) == VerificationStatus.OK
    assert status_of(app_store, revoked, online=True) == bad


def test_the_root_that_comes_with_evenkeel_is_apples() -> None:
    """And a chain of Apple's, from the tests of Apple's library, leads to it."""
    [root] = x509.load_pem_x509_certificates(APPLE_ROOT_CA_G3.read_bytes())
    assert root.fingerprint(SHA256()).hex() == FINGERPRINT
    chain = (Path(__file__).parent / "apple_chain.pem").read_bytes()
    leaf, intermediate = x509.load_pem_x509_certificates(chain)
    intermediate.verify_directly_issued_by(root)
    leaf.verify_directly_issued_by(intermediate)
