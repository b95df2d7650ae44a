"""A fake App Store: the App Store Server API over HTTP, and the hand that buys and refunds.

    with AppStore() as store:
        number = store.buy("gems_100", quantity=2)
        jws = store.jws(number)                  # what StoreKit gives to the client
        payload = store.refund(number)           # the notification that Apple sends

Both environments are in one server, under /production and /sandbox. Everything is signed by a
private authority, `store.authority`; its root is what has to be trusted.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fakes.apple_ca import Authority
from tests.fakes.apple_sales import AppleSales, ms
from tests.fakes.faults import Answer, FaultyServer, Request

PAGE = 20


class AppStore(AppleSales, FaultyServer):
    """The API of that app's store."""

    issuer_id = "57246542-96fe-1a63-e053-0824d011072a"
    key_id = "2X9R4HXF34"

    def __init__(self) -> None:
        super().__init__()
        self._key = ec.generate_private_key(ec.SECP256R1())

    def __enter__(self) -> "AppStore":
        super().__enter__()
        self.authority = Authority(f"{self.url}/ocsp")
        return self

    @property
    def secret(self) -> str:
        """The key that App Store Connect gave us."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def options(self) -> dict[str, Any]:
        return {
            "app_apple_id": self.app_apple_id,
            "issuer_id": self.issuer_id,
            "key_id": self.key_id,
        }

    def answer(self, request: Request) -> Answer:
        if request.path == "/ocsp":
            answer = self.authority.answer(request.body)
            return Answer(body=answer, content_type="application/ocsp-response")
        place, _, path = request.path[1:].partition("/")
        environment = {"production": "Production", "sandbox": "Sandbox"}[place]
        if not self._may(request):
            # Apple's has neither a JSON body nor a number.
            return Answer(401, b"Unauthenticated\n\n", content_type="text/plain")
        for method, pattern, act in (
            ("GET", r"inApps/v1/transactions/([^/]+)", self._transaction),
            ("GET", r"inApps/v1/subscriptions/([^/]+)", self._statuses),
            ("GET", r"inApps/v2/history/([^/]+)", self._history),
            ("GET", r"inApps/v2/refund/lookup/([^/]+)", self._refunds),
            ("POST", r"inApps/v1/notifications/(history)", self._notifications),
            ("POST", r"inApps/v1/notifications/(test)", self._test),
        ):
            match = re.fullmatch(pattern, path)
            if match and method == request.method:
                return act(environment, match[1], request)
        return Answer(404, b"", content_type="text/plain")

    def _may(self, request: Request) -> bool:
        """The token's signature, key, issuer, audience and app, and a life of an hour at most."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            head = jwt.get_unverified_header(bearer)
            said = jwt.decode(
                bearer,
                self._key.public_key(),
                algorithms=["ES256"],
                audience="appstoreconnect-v1",
                issuer=self.issuer_id,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidTokenError:
            return False
        lives = said["exp"] - datetime.now(UTC).timestamp()
        return head["kid"] == self.key_id and said["bid"] == self.bundle_id and lives <= 3600

    def _transaction(self, environment: str, number: str, request: Request) -> Answer:
        said = self._find(environment, number)
        if isinstance(said, Answer):
            return said
        return Answer(body={"signedTransactionInfo": self.jws(number)})

    def _statuses(self, environment: str, number: str, request: Request) -> Answer:
        said = self._find(environment, number)
        if isinstance(said, Answer):
            return said
        original = said["originalTransactionId"]
        series = self.series.get(original)
        item = series and {
            "originalTransactionId": original,
            "status": series.status,
            "signedTransactionInfo": self.jws(series.transactions[-1]),
            "signedRenewalInfo": self.renewal_jws(original),
        }
        group = {"subscriptionGroupIdentifier": "20600000", "lastTransactions": [item]}
        return Answer(body=self._app(environment) | {"data": [group] if item else []})

    def _history(self, environment: str, number: str, request: Request) -> Answer:
        said = self._find(environment, number)
        if isinstance(said, Answer):
            return said
        found = [n for n, t in self.transactions.items() if t["environment"] == environment]
        if request.one("sort") == "DESCENDING":
            found.reverse()
        return self._signed_page(request, found, self._app(environment))

    def _refunds(self, environment: str, number: str, request: Request) -> Answer:
        said = self._find(environment, number)
        if isinstance(said, Answer):
            return said
        found = [n for n, t in self.transactions.items() if "revocationDate" in t]
        return self._signed_page(request, found, {})

    def _notifications(self, environment: str, _: str, request: Request) -> Answer:
        asked = request.json()
        oldest = ms(self.now() - timedelta(days=180 if environment == "Production" else 30))
        if asked["startDate"] < oldest:
            return refused(400, 4000012, "Start date is earlier than the allowed start date")
        if asked["startDate"] >= asked["endDate"]:
            return refused(400, 4000013, "Start date is after end date")
        found = [
            sent
            for sent in self.sent
            if sent.environment == environment
            and asked["startDate"] <= ms(sent.at) < asked["endDate"]
            and asked.get("transactionId", sent.transaction_id) == sent.transaction_id
            and asked.get("notificationType", sent.kind) == sent.kind
        ]
        start = int(request.one("paginationToken") or 0)
        page = found[start : start + PAGE]
        more = start + PAGE < len(found)
        return Answer(
            body={
                "notificationHistory": [
                    {"signedPayload": sent.payload, "sendAttempts": []} for sent in page
                ],
                "hasMore": more,
                **({"paginationToken": str(start + PAGE)} if more else {}),
            }
        )

    def _test(self, environment: str, _: str, request: Request) -> Answer:
        self.notify("TEST")
        return Answer(body={"testNotificationToken": str(uuid4())})

    def _find(self, environment: str, number: str) -> dict[str, Any] | Answer:
        if not re.fullmatch(r"[1-9][0-9]{0,19}", number):
            return refused(400, 4000006, "Invalid transaction id.")
        said = self.transactions.get(number)
        if said is None or said["environment"] != environment:
            return refused(404, 4040010, "Transaction id not found.")
        return said

    def _signed_page(
        self, request: Request, numbers: Iterable[str], more: dict[str, Any]
    ) -> Answer:
        numbers = list(numbers)
        start = int(request.one("revision") or 0)
        end = min(start + PAGE, len(numbers))
        signed = [self.jws(number) for number in numbers[start:end]]
        has_more = end < len(numbers)
        page = {"signedTransactions": signed, "revision": str(end), "hasMore": has_more}
        return Answer(body=more | page)

    def _app(self, environment: str) -> dict[str, Any]:
        return {
            "environment": environment,
            "bundleId": self.bundle_id,
            "appAppleId": self.app_apple_id,
        }


def refused(status: int, code: int, message: str) -> Answer:
    """An error as Apple words it."""
    return Answer(status, {"errorCode": code, "errorMessage": message})
