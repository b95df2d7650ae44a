"""Google Play for tests, as a real HTTP server: purchases, subscriptions, orders, voided purchases,
access tokens, and the notifications that Pub/Sub pushes.

    with PlayStore() as play:
        token = play.sell("gems_small", quantity=2)
        play.refund(token, quantity=1)

Google's own discovery document judges what it answers, and what it is asked (play_discovery.py).
"""

import json
import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import parse_qs, unquote

import jwt

from tests.fakes.faults import Answer, FaultyServer, Request
from tests.fakes.play_keys import (
    ACCOUNT_EMAIL,
    ACCOUNT_KEY,
    PACKAGE,
    PushSigner,
    public_key_of,
    service_account,
)
from tests.fakes.play_sales import ACKNOWLEDGED, Json, Sales

TOKEN_AUDIENCE = "https://oauth2.googleapis.com/token"
SCOPE = "https://www.googleapis.com/auth/androidpublisher"
APPLICATIONS = "/androidpublisher/v3/applications/"


class PlayStore(Sales, FaultyServer):
    """One app's purchases, as Google would answer them.

    page       how many voided purchases a page has
    answered   every request with its right answer, for the judge
    """

    def __init__(self) -> None:
        FaultyServer.__init__(self)
        Sales.__init__(self)
        self.access_tokens: dict[str, float] = {}
        self.page = 1000
        self.push = PushSigner()
        self.answered: list[tuple[Request, Answer]] = []

    def revoke_access(self) -> None:
        """No access token given so far works any more."""
        self.access_tokens.clear()

    def service_account(self, **changes: str) -> str:
        """The secret of an `App`: a service account's JSON key."""
        return json.dumps(service_account() | changes)

    # What it answers

    def answer(self, request: Request) -> Answer:
        answer = self._answer(request)
        self.answered.append((request, answer))
        return answer

    def _answer(self, request: Request) -> Answer:
        if request.path == "/token":
            return self._give_access(request)
        if request.path == "/certs":
            return Answer(200, self.push.jwks())
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.access_tokens.get(given, 0) < time.time():
            return failure(401, "authError")
        if not request.path.startswith(APPLICATIONS):
            return failure(404, "notFound")
        package, _, path = request.path.removeprefix(APPLICATIONS).partition("/")
        if unquote(package) != PACKAGE:
            return failure(404, "applicationNotFound")
        for method, pattern, handle in self._routes():
            found = re.fullmatch(pattern, path)
            if found and request.method == method:
                return handle(request, *map(unquote, found.groups()))
        return failure(404, "notFound")

    def _routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        one = "([^/:]+)"
        return [
            ("GET", f"purchases/productsv2/tokens/{one}", self._product),
            ("GET", f"purchases/subscriptionsv2/tokens/{one}", self._subscription),
            ("POST", f"purchases/products/{one}/tokens/{one}:acknowledge", self._acknowledge),
            ("POST", f"purchases/products/{one}/tokens/{one}:consume", self._consume),
            ("POST", f"purchases/subscriptions/{one}/tokens/{one}:acknowledge", self._keep),
            ("GET", "purchases/voidedpurchases", self._voided),
            ("GET", "orders:batchGet", self._batch_get),
        ]

    def _give_access(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        try:
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            claims = jwt.decode(
                form["assertion"],
                public_key_of(ACCOUNT_KEY),
                algorithms=["RS256"],
                audience=TOKEN_AUDIENCE,
                issuer=ACCOUNT_EMAIL,
                options={"require": ["iat", "exp", "aud", "iss"]},
            )
            assert claims["scope"] == SCOPE
            assert claims["exp"] - claims["iat"] <= 3600
        except (AssertionError, KeyError, jwt.PyJWTError) as error:
            return Answer(400, {"error": "invalid_grant", "error_description": str(error)})
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self.access_tokens[token] = time.time() + 3600
        return Answer(200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _product(self, _: Request, token: str) -> Answer:
        if token in self.gone:
            return failure(410, "purchaseTokenNoLongerValid")
        if token in self.subscriptions:
            return failure(400, "invalid")
        found = self.products.get(token)
        return Answer(200, found) if found else failure(404, "purchaseTokenNotFound")

    def _subscription(self, _: Request, token: str) -> Answer:
        if token in self.gone:
            return failure(410, "subscriptionPurchaseNoLongerAvailable")
        found = self.subscriptions.get(token)
        return Answer(200, found) if found else failure(400, "invalid")

    def _acknowledge(self, request: Request, product: str, token: str) -> Answer:
        purchase, refusal = self._owned(product, token)
        if refusal:
            return refusal
        if purchase["acknowledgementState"] == ACKNOWLEDGED:
            return failure(400, "invalid")
        purchase["acknowledgementState"] = ACKNOWLEDGED
        return Answer(204, b"")

    def _consume(self, request: Request, product: str, token: str) -> Answer:
        purchase, refusal = self._owned(product, token)
        if refusal:
            return refusal
        for line in purchase["productLineItem"]:
            details = line["productOfferDetails"]
            if details["consumptionState"] == "CONSUMPTION_STATE_CONSUMED":
                return failure(400, "invalid")
            details["consumptionState"] = "CONSUMPTION_STATE_CONSUMED"
        purchase["acknowledgementState"] = ACKNOWLEDGED
        return Answer(204, b"")

    def _owned(self, product: str, token: str) -> tuple[Json, Answer | None]:
        purchase = self.products.get(token, {})
        lines = purchase.get("productLineItem", [])
        if product not in [line["productId"] for line in lines]:
            return purchase, failure(400, "purchaseTokenDoesNotMatchProductId")
        if purchase["purchaseStateContext"]["purchaseState"] != "PURCHASED":
            return purchase, failure(400, "productNotOwnedByUser")
        return purchase, None

    def _keep(self, _: Request, product: str, token: str) -> Answer:
        subscription = self.subscriptions.get(token)
        if not subscription or subscription["acknowledgementState"] == ACKNOWLEDGED:
            return failure(400, "invalid")
        subscription["acknowledgementState"] = ACKNOWLEDGED
        return Answer(204, b"")

    def _voided(self, request: Request) -> Answer:
        now = time.time() * 1000
        oldest = now - 30 * 86_400_000
        since = int(request.one("startTime") or oldest)
        until = int(request.one("endTime") or now)
        if since < int(oldest) or until > now:
            return failure(400, "invalid")
        partial = request.one("includeQuantityBasedPartialRefund") == "true"
        with_subscriptions = request.one("type") == "1"
        found = [
            record
            for recorded, record in self.voided
            if since <= recorded * 1000 <= until
            and (partial or "voidedQuantity" not in record)
            and (with_subscriptions or record["purchaseToken"] in self.products)
        ]
        start = int(request.one("token") or 0)
        page = found[start : start + min(self.page, int(request.one("maxResults") or 1000))]
        body: Json = {"voidedPurchases": page} if page else {}
        if start + len(page) < len(found):
            body["tokenPagination"] = {"nextPageToken": str(start + len(page))}
        return Answer(200, body)

    def _batch_get(self, request: Request) -> Answer:
        ids = request.query["orderIds"]
        if not 1 <= len(ids) <= 1000 or len(set(ids)) < len(ids):
            return failure(400, "invalid")
        if not set(ids) <= set(self.orders):
            return failure(404, "notFound")
        return Answer(200, {"orders": [self.orders[order_id] for order_id in ids]})


def failure(status: int, reason: str, **headers: str) -> Answer:
    """An error as Google writes them."""
    item = {"message": "Something", "domain": "androidpublisher", "reason": reason}
    body = {"error": {"code": status, "message": "Something", "errors": [item]}}
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
