"""What a fake App Store sells: purchases, refunds, subscriptions, and what Apple signs of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from tests.fakes.apple_ca import Authority, Tier

CONSUMABLE, DURABLE, SUBSCRIPTION, PASS = (
    "Consumable",
    "Non-Consumable",
    "Auto-Renewable Subscription",
    "Non-Renewing Subscription",
)
ACTIVE, EXPIRED, RETRYING, GRACE, REVOKED = 1, 2, 3, 4, 5
MONTH = timedelta(days=30)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@dataclass
class Series:
    """A subscription: its status, its renewal info, and the ids of its transactions in order."""

    status: int = ACTIVE
    renewal: dict[str, Any] = field(default_factory=dict)
    transactions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sent:
    """A notification, as it is in Apple's history."""

    environment: str
    at: datetime
    kind: str
    transaction_id: str
    payload: str


class AppleSales:
    """One app's customers. `late` moves the clock: subscriptions run out."""

    bundle_id = "com.v7games.garden"
    app_apple_id = 1_234_567_890
    authority: Authority

    def __init__(self) -> None:
        super().__init__()
        self.late = timedelta()
        self.transactions: dict[str, dict[str, Any]] = {}
        self.series: dict[str, Series] = {}
        self.sent: list[Sent] = []
        self._last_id = 2_000_000_000_000_000

    def now(self) -> datetime:
        return datetime.now(UTC) + self.late

    # --- what customers and Apple do ---------------------------------------------------------

    def buy(
        self,
        product: str = "gems_100",
        *,
        kind: str = CONSUMABLE,
        sandbox: bool = False,
        account: UUID | None = None,
        **more: Any,
    ) -> str:
        """A purchase; the transaction's id. `more`: fields of the transaction, instead of ours."""
        number = self._next()
        now = ms(self.now())
        self.transactions[number] = {
            "transactionId": number,
            "originalTransactionId": number,
            "bundleId": self.bundle_id,
            "productId": product,
            "purchaseDate": now,
            "originalPurchaseDate": now,
            "quantity": 1,
            "type": kind,
            "inAppOwnershipType": "PURCHASED",
            "environment": "Sandbox" if sandbox else "Production",
            "transactionReason": "PURCHASE",
            "storefront": "USA",
            "storefrontId": "143441",
            "price": 4990,
            "currency": "USD",
            **({"appAccountToken": str(account)} if account else {}),
            **more,
        }
        return number

    def refund(self, number: str, *, percentage: int | None = None) -> str:
        """Take back all, or so many thousandths of a percent; the notification."""
        kind = "REFUND_FULL" if percentage is None else "REFUND_PRORATED"
        self.transactions[number] |= {
            "revocationDate": ms(self.now()),
            "revocationReason": 0,
            "revocationType": kind,
            "revocationPercentage": percentage or 100_000,
        }
        return self.notify("REFUND", number)

    def reverse_refund(self, number: str) -> str:
        for name in ("Date", "Reason", "Type", "Percentage"):
            self.transactions[number].pop(f"revocation{name}", None)
        return self.notify("REFUND_REVERSED", number)

    def leave_family(self, number: str) -> str:
        """The one who shared it stops sharing."""
        self.transactions[number] |= {
            "revocationDate": ms(self.now()),
            "revocationType": "FAMILY_REVOKE",
        }
        return self.notify("REVOKE", number)

    def subscribe(self, product: str = "club_month", **more: Any) -> str:
        """A subscription that lasts 30 days at a time; the id of its first transaction."""
        ends = ms(self.now() + MONTH)
        number = self.buy(product, kind=SUBSCRIPTION, expiresDate=ends, **more)
        renewal = {
            "originalTransactionId": number,
            "autoRenewProductId": product,
            "productId": product,
            "autoRenewStatus": 1,
            "environment": self.transactions[number]["environment"],
        }
        self.series[number] = Series(ACTIVE, renewal, [number])
        return number

    def renew(self, original: str, product: str = "") -> str:
        """The next 30 days, of another product after an upgrade; the id of the transaction."""
        series = self.series[original]
        last = self.transactions[series.transactions[-1]]
        product = product or last["productId"]
        number = self.buy(
            **{
                **last,
                "product": product,
                "productId": product,
                "kind": SUBSCRIPTION,
                "transactionReason": "RENEWAL",
                "purchaseDate": ms(self.now()),
                "expiresDate": ms(self.now() + MONTH),
            }
        )
        self.transactions[number]["transactionId"] = number
        series.transactions.append(number)
        series.status = ACTIVE
        series.renewal |= {"productId": product, "autoRenewProductId": product}
        return number

    def upgrade(self, original: str, product: str) -> str:
        """At once, with money back for what was left; the id of the new transaction."""
        before = self.series[original].transactions[-1]
        number = self.renew(original, product)
        self.transactions[before]["isUpgraded"] = True
        return number

    def become(self, original: str, status: int, **renewal: Any) -> None:
        """A subscription's new status, and what its renewal info says with it."""
        self.series[original].status = status
        self.series[original].renewal |= renewal

    # --- what Apple signs --------------------------------------------------------------------

    def jws(
        self, number: str, *, leaf: Tier | None = None, at: datetime | None = None, **changes: Any
    ) -> str:
        """The transaction, signed now or at another time; None in `changes` leaves a field out."""
        payload = self.transactions[number] | {"signedDate": ms(at or self.now())} | changes
        return self.authority.sign({k: v for k, v in payload.items() if v is not None}, leaf)

    def renewal_jws(self, original: str, **changes: Any) -> str:
        renewal = self.series[original].renewal | {"signedDate": ms(self.now())} | changes
        return self.authority.sign(renewal)

    def notify(self, kind: str, number: str = "", subtype: str = "", **changes: Any) -> str:
        """A notification about a transaction, or about nothing; it is kept in the history, too."""
        said = self.transactions.get(number, {"environment": "Production"})
        data: dict[str, Any] = {
            "environment": said["environment"],
            "appAppleId": self.app_apple_id,
            "bundleId": self.bundle_id,
        }
        if number:
            data["signedTransactionInfo"] = self.jws(number)
            if series := self.series.get(said["originalTransactionId"]):
                data["signedRenewalInfo"] = self.renewal_jws(said["originalTransactionId"])
                data["status"] = series.status
        body = {
            "notificationType": kind,
            "notificationUUID": str(uuid4()),
            "version": "2.0",
            "signedDate": ms(self.now()),
            "data": data,
            **({"subtype": subtype} if subtype else {}),
            **changes,
        }
        payload = self.authority.sign({k: v for k, v in body.items() if v is not None})
        self.sent.append(Sent(data["environment"], self.now(), kind, number, payload))
        return payload

    def _next(self) -> str:
        self._last_id += 1
        return str(self._last_id)
