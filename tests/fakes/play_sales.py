"""What players do at the fake Google Play, and what Google would then say of it.

Everything is in Google's own JSON, as the API answers it.
"""

import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Any

ACKNOWLEDGED = "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"
Json = dict[str, Any]
Price = tuple[str, int, int]  # currency, units, nanos


class Sales:
    """Purchases and subscriptions by token, orders by id, and the list of voided purchases."""

    def __init__(self) -> None:
        self.products: dict[str, Json] = {}
        self.subscriptions: dict[str, Json] = {}
        self.orders: dict[str, Json] = {}
        self.voided: list[tuple[float, Json]] = []
        self.gone: set[str] = set()

    def sell(
        self,
        *products: str,
        quantity: int = 1,
        state: str = "PURCHASED",
        account: str = "",
        is_test: bool = False,
        has_order: bool = True,
        price: Price = ("EUR", 4, 990_000_000),
        token: str = "",
    ) -> str:
        """A purchase of one or more products; its token. `price`: of each."""
        token = token or new_token()
        order_id = new_order_id()
        paid = state == "PURCHASED"
        self.products[token] = _without_empty(
            {
                "kind": "androidpublisher#productPurchaseV2",
                "productLineItem": [
                    {
                        "productId": product,
                        "productOfferDetails": {
                            "quantity": quantity,
                            "refundableQuantity": quantity,
                            "consumptionState": "CONSUMPTION_STATE_YET_TO_BE_CONSUMED",
                        },
                    }
                    for product in products
                ],
                "purchaseStateContext": {"purchaseState": state},
                "orderId": order_id if has_order else "",
                "obfuscatedExternalAccountId": account,
                "purchaseCompletionTime": timestamp() if paid else "",
                "acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING",
                "regionCode": "DE",
            }
        )
        if is_test:
            self.products[token]["testPurchaseContext"] = {"fopType": "TEST"}
        if has_order:
            self._order(order_id, token, products, price, quantity=quantity)
        return token

    def pay(self, token: str) -> None:
        """The money for a pending purchase has come."""
        self.products[token]["purchaseStateContext"] = {"purchaseState": "PURCHASED"}
        self.products[token]["purchaseCompletionTime"] = timestamp()

    def subscribe(
        self,
        product: str = "pass",
        *,
        state: str = "ACTIVE",
        account: str = "",
        replaces: str = "",
        is_test: bool = False,
        is_trial: bool = False,
        price: Price = ("EUR", 9, 990_000_000),
    ) -> str:
        """A subscription; its token. It ends in 30 days."""
        token, order_id = new_token(), new_order_id()
        unpaid = state in ("PENDING", "PENDING_PURCHASE_CANCELED")
        line = {
            "productId": product,
            "latestSuccessfulOrderId": "" if unpaid else order_id,
            "expiryTime": "" if unpaid else timestamp(timedelta(days=30)),
            "autoRenewingPlan": {"autoRenewEnabled": state == "ACTIVE"},
            "offerDetails": {"basePlanId": "monthly"},
            "offerPhase": {"freeTrial": {}} if is_trial else {"basePrice": {}},
        }
        self.subscriptions[token] = _without_empty(
            {
                "kind": "androidpublisher#subscriptionPurchaseV2",
                "lineItems": [_without_empty(line)],
                "subscriptionState": f"SUBSCRIPTION_STATE_{state}",
                "startTime": "" if unpaid else timestamp(),
                "linkedPurchaseToken": replaces,
                "acknowledgementState": "ACKNOWLEDGEMENT_STATE_PENDING",
                "regionCode": "JP",
            }
        )
        if account:
            self.subscriptions[token]["externalAccountIdentifiers"] = {
                "obfuscatedExternalAccountId": account
            }
        if is_test:  # Google's answer is an empty object
            self.subscriptions[token]["testPurchase"] = {}
        if not unpaid:
            self._order(order_id, token, [product], price, is_subscription=True)
        return token

    def renew(self, token: str) -> str:
        """The subscription's next period; the id of its order."""
        line = self.subscriptions[token]["lineItems"][0]
        first, _, number = line["latestSuccessfulOrderId"].partition("..")
        order_id = f"{first}..{int(number or -1) + 1}"
        price = self.orders[line["latestSuccessfulOrderId"]]["lineItems"][0]["total"]
        line["latestSuccessfulOrderId"] = order_id
        paid = (price["currencyCode"], int(price["units"]), price["nanos"])
        self._order(order_id, token, [line["productId"]], paid, is_subscription=True)
        return order_id

    def become(
        self,
        token: str,
        state: str,
        *,
        ends: timedelta = timedelta(days=30),
        renews: bool = True,
        then: str = "",
    ) -> None:
        """A subscription's new state, when its period ends, and what it becomes after that."""
        subscription = self.subscriptions[token]
        subscription["subscriptionState"] = f"SUBSCRIPTION_STATE_{state}"
        line = subscription["lineItems"][0]
        line["expiryTime"] = timestamp(ends)
        line["autoRenewingPlan"] = {"autoRenewEnabled": renews}
        line.pop("deferredItemReplacement", None)
        if then:
            line["deferredItemReplacement"] = {"productId": then}

    def refund(
        self,
        token: str,
        *,
        quantity: int | None = None,
        recorded_ago: timedelta = timedelta(0),
        is_shown: bool = True,
    ) -> None:
        """Take a purchase of products back, or `quantity` of it. Unless `is_shown`, only the list
        of voided purchases knows so far."""
        purchase = self.products[token]
        whole = quantity is None
        if is_shown:
            for line in purchase["productLineItem"]:
                details = line["productOfferDetails"]
                details["refundableQuantity"] = (
                    0 if quantity is None else details["refundableQuantity"] - quantity
                )
            if whole:
                purchase["purchaseStateContext"] = {"purchaseState": "CANCELLED"}
            order = self.orders.get(purchase.get("orderId", ""))
            if order:
                order["state"] = "REFUNDED" if whole else "PARTIALLY_REFUNDED"
        record = {"purchaseToken": token, "orderId": purchase.get("orderId", "")}
        self._void(
            record | ({} if quantity is None else {"voidedQuantity": quantity}), recorded_ago
        )

    def refund_order(self, order_id: str, *, share: float = 1, is_shown: bool = True) -> None:
        """Take a subscription's order back, or that share of its price."""
        order = self.orders[order_id]
        if is_shown and share == 1:
            order["state"] = "REFUNDED"
            order["orderHistory"] = {
                "refundEvent": {"eventTime": timestamp(), "refundReason": "OTHER"}
            }
        elif is_shown:
            nanos = (int(order["total"]["units"]) * 10**9 + order["total"]["nanos"]) * share
            back = money(order["total"]["currencyCode"], *divmod(round(nanos), 10**9))
            event = {"state": "PROCESSED_SUCCESSFULLY", "refundDetails": {"total": back}}
            order["state"] = "PARTIALLY_REFUNDED"
            order["orderHistory"] = {"partialRefundEvents": [event | {"processTime": timestamp()}]}
        self._void({"purchaseToken": order["purchaseToken"], "orderId": order_id}, timedelta(0))

    def forget(self, token: str) -> None:
        """As Google does two months after a subscription's end."""
        self.gone.add(token)

    def _order(
        self,
        order_id: str,
        token: str,
        products: Any,
        price: Price,
        *,
        is_subscription: bool = False,
        quantity: int = 1,
    ) -> None:
        details: Json = {"oneTimePurchaseDetails": {"quantity": quantity}}
        if is_subscription:
            details = {"subscriptionDetails": {"basePlanId": "monthly"}}
        self.orders[order_id] = {
            "orderId": order_id,
            "purchaseToken": token,
            "state": "PROCESSED",
            "createTime": timestamp(),
            "lineItems": [
                {"productId": product, "total": money(*price), **details} for product in products
            ],
            "total": money(price[0], price[1] * len(products), price[2]),
        }

    def _void(self, record: Json, ago: timedelta) -> None:
        now = time.time() - ago.total_seconds()
        times = {"voidedTimeMillis": str(int(now * 1000)), "purchaseTimeMillis": "1700000000000"}
        kind = {"kind": "androidpublisher#voidedPurchase", "voidedSource": 0, "voidedReason": 1}
        self.voided.append((now, record | times | kind))


def timestamp(later: timedelta = timedelta(0)) -> str:
    return (datetime.now(UTC) + later).isoformat().replace("+00:00", "Z")


def money(currency: str, units: int, nanos: int) -> Json:
    return {"currencyCode": currency, "units": str(units), "nanos": nanos}


def new_token() -> str:
    return f"{secrets.token_hex(12)}.AO-J1{secrets.token_urlsafe(60)}"


def new_order_id() -> str:
    digits = f"{secrets.randbelow(10**17):017}"
    return f"GPA.{digits[:4]}-{digits[4:8]}-{digits[8:12]}-{digits[12:]}"


def _without_empty(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value != ""}
