"""The fake Google Play against Google's own client and Google's own description of its API."""

import copy
import time
from collections.abc import Iterator
from typing import Any

import httplib2
import pytest
from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

from tests.fakes.faults import Answer, Request
from tests.fakes.play_discovery import document, judge
from tests.fakes.play_keys import PACKAGE
from tests.fakes.play_keys import service_account as key_file
from tests.fakes.play_sales import new_token
from tests.fakes.play_store import SCOPE, PlayStore

PATH = f"/androidpublisher/v3/applications/{PACKAGE}"


@pytest.fixture
def client(play: PlayStore) -> Iterator[Any]:
    """google-api-python-client, made from the document, with the fake as its root."""
    described = copy.deepcopy(document()) | {"rootUrl": f"{play.url}/", "baseUrl": f"{play.url}/"}
    credentials = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]  # half typed
        key_file() | {"token_uri": f"{play.url}/token"}, scopes=[SCOPE]
    )
    http = AuthorizedHttp(credentials, http=httplib2.Http(timeout=10))
    with build_from_document(described, http=http) as service:
        yield service


def test_purchase__read_acknowledged_and_consumed(client: Any, play: PlayStore) -> None:
    token = play.sell("gems_small", quantity=2)
    purchases = client.purchases()
    read = purchases.productsv2().getproductpurchasev2(packageName=PACKAGE, token=token)
    assert read.execute()["productLineItem"][0]["productOfferDetails"]["quantity"] == 2
    names = {"packageName": PACKAGE, "productId": "gems_small", "token": token}
    purchases.products().acknowledge(**names, body={}).execute()
    assert read.execute()["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
    purchases.products().consume(**names).execute()
    assert "CONSUMPTION_STATE_CONSUMED" in str(read.execute())
    with pytest.raises(HttpError) as refusal:
        purchases.products().consume(**names).execute()
    assert refusal.value.status_code == 400


def test_subscription__read_and_acknowledged(client: Any, play: PlayStore) -> None:
    subscriptions = client.purchases().subscriptionsv2()
    for state in ("PENDING", "IN_GRACE_PERIOD", "EXPIRED"):
        token = play.subscribe(state=state, account="x", is_test=True, is_trial=True, replaces="y")
        found = subscriptions.get(packageName=PACKAGE, token=token).execute()
        assert found["subscriptionState"] == f"SUBSCRIPTION_STATE_{state}"
    token = play.subscribe()
    read = subscriptions.get(packageName=PACKAGE, token=token)
    names = {"packageName": PACKAGE, "subscriptionId": "pass", "token": token}
    client.purchases().subscriptions().acknowledge(**names, body={}).execute()
    assert read.execute()["acknowledgementState"] == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"


def test_orders__read_together(client: Any, play: PlayStore) -> None:
    play.sell("gems_small")
    token = play.subscribe()
    play.refund_order(play.renew(token))
    play.refund_order(play.renew(token), share=0.5)
    answer = client.orders().batchget(packageName=PACKAGE, orderIds=list(play.orders)).execute()
    assert [order["state"] for order in answer["orders"]] == [
        "PROCESSED",
        "PROCESSED",
        "REFUNDED",
        "PARTIALLY_REFUNDED",
    ]
    with pytest.raises(HttpError) as refusal:
        client.orders().batchget(packageName=PACKAGE, orderIds=["GPA.0"]).execute()
    assert refusal.value.status_code == 404


def test_voided_purchases__listed_in_pages(client: Any, play: PlayStore) -> None:
    play.page = 2
    for _ in range(3):
        play.refund(play.sell("gems_small", quantity=2), quantity=1)
    play.refund(play.sell("gems_small"))
    names = {"packageName": PACKAGE, "type": 1, "includeQuantityBasedPartialRefund": True}
    listing = client.purchases().voidedpurchases()
    first = listing.list(**names).execute()
    after = first["tokenPagination"]["nextPageToken"]
    second = listing.list(**names, token=after).execute()
    assert [len(page["voidedPurchases"]) for page in (first, second)] == [2, 2]
    assert "tokenPagination" not in second
    whole = listing.list(packageName=PACKAGE).execute()["voidedPurchases"]
    assert ["voidedQuantity" in entry for entry in whole] == [False]
    with pytest.raises(HttpError) as refusal:
        listing.list(packageName=PACKAGE, startTime="1").execute()
    assert refusal.value.status_code == 400


def test_unknown__as_google_says_it(client: Any, play: PlayStore) -> None:
    read = client.purchases().productsv2()
    with pytest.raises(HttpError) as refusal:
        read.getproductpurchasev2(packageName=PACKAGE, token=new_token()).execute()
    assert (refusal.value.status_code, refusal.value.error_details[0]["reason"]) == (
        404,
        "purchaseTokenNotFound",
    )
    with pytest.raises(HttpError) as refusal:
        read.getproductpurchasev2(packageName="com.other", token=new_token()).execute()
    assert refusal.value.error_details[0]["reason"] == "applicationNotFound"


def test_access__expired_token__renewed_by_googles_client(client: Any, play: PlayStore) -> None:
    token = play.sell("gems_small")
    read = client.purchases().productsv2()
    for _ in range(2):
        play.revoke_access()
        read.getproductpurchasev2(packageName=PACKAGE, token=token).execute()
    assert len(play.asked("^/token$")) == 2
    assert all(until > time.time() for until in play.access_tokens.values())


# The judge


def request(path: str, method: str = "GET", body: bytes = b"", **query: list[str]) -> Request:
    return Request(method, f"{PATH}/{path}", query, {}, body)


PRODUCT = request("purchases/productsv2/tokens/abc")


def test_judge__names_the_method() -> None:
    assert judge(PRODUCT, None) == "androidpublisher.purchases.productsv2.getproductpurchasev2"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (request("purchases/productsv2/abc"), None),
        (request("purchases/productsv2/tokens/a/b"), None),
        (request("purchases/productsv2/tokens/%20"), None),
        (request("purchases/productsv2/tokens/abc", "POST"), None),
        (request("purchases/productsv2/tokens/abc", body=b"{}"), None),
        (request("purchases/productsv2/tokens/abc", nonsense=["1"]), None),
        (request("purchases/voidedpurchases", type=["all"]), None),
        (request("purchases/voidedpurchases", type=["1", "0"]), None),
        (request("purchases/voidedpurchases", startTime=["2026-11-21"]), None),
        (request("purchases/voidedpurchases", includeQuantityBasedPartialRefund=["True"]), None),
        (request("purchases/products/a/tokens/b:acknowledge", "POST", b'{"x": 1}'), None),
        (request("purchases/products/a/tokens/b:consume", "POST", b"{}"), None),
        (request("purchases/products/a/tokens/b:consume", "POST"), Answer(200, {"x": 1})),
        (PRODUCT, Answer(200, {"nonsense": 1})),
        (PRODUCT, Answer(200, [])),
        (PRODUCT, Answer(200, {"orderId": 7})),
        (PRODUCT, Answer(200, {"productLineItem": {}})),
        (PRODUCT, Answer(200, {"purchaseCompletionTime": "yesterday"})),
        (PRODUCT, Answer(200, {"purchaseStateContext": {"purchaseState": "BOUGHT"}})),
        (
            PRODUCT,
            Answer(200, {"productLineItem": [{"productOfferDetails": {"quantity": "2"}}]}),
        ),
    ],
)
def test_judge__refuses_what_google_would_not_know(asked: Request, answered: Answer | None) -> None:
    with pytest.raises((AssertionError, ValueError)):
        judge(asked, answered)
