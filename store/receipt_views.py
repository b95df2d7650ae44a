"""Endpoints of real money: receipts, orders, the platforms' notifications."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse

from accounts.authentication import limited_address
from config.api import gate
from config.api.callers import ApiRequest
from config.api.pagination import Page, PageQuery
from config.api.parsing import invalid, read_body
from config.api.problems import RateLimited
from config.api.views import ApiViewSet, answer, endpoint
from config.hooks import hasten
from store import errors, receipt_selectors, tasks
from store.providers.registry import UNITY_STORES
from store.receipt_serializers import AccountTokenOut, OrderOut, ReceiptIn
from store.services import notices, orders, ownership


class ReceiptViewSet(ApiViewSet):
    """Receipts of the platforms' stores."""

    @endpoint(
        callers=("player",),
        body=ReceiptIn,
        answers={202: OrderOut},
        idempotent="optional",
        problems=(errors.UnknownPlatform, errors.ReceiptRefused),
        example={
            "provider": "sandbox",
            "receipt": {"product": "gems_small", "transaction_id": "t-1"},
        },
    )
    def create(self, request: ApiRequest, body: ReceiptIn) -> HttpResponse:
        """Send the receipt of a purchase in a platform's store.

        It is kept before this answers: nothing that was sent is lost. A worker verifies it with the
        platform and grants what was bought; `Location` is where to see what became of it. The
        same receipt again does no harm and answers with the same order. Finish the purchase in the
        platform's own library once the order is `granted`, `rejected` or `refunded`.
        """
        caller = request.caller
        provider, receipt = provider_and_receipt(body)
        order, is_new = orders.submit(
            game_id=caller.game_id, player_id=caller.player, provider=provider, receipt=receipt
        )
        if is_new:
            hasten(tasks.process_order, str(order.pk))
        return answer(
            receipt_selectors.order_out(order),
            status=202,
            headers={"Location": f"/v1/store/orders/{order.pk}"},
        )


class OrderViewSet(ApiViewSet):
    """What became of receipts."""

    @endpoint(callers=("player",), answers={200: Page[OrderOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List own orders, newest first."""
        return answer(receipt_selectors.orders(player_id=request.caller.player, query=query))

    @endpoint(callers=("player",), answers={200: OrderOut})
    def retrieve(self, request: ApiRequest, order: UUID) -> HttpResponse:
        """Read one of own orders.

        `received` and `verifying` are on their way. `granted` is done; `deferred` waits until the
        platform has taken the money; `refunded` was taken back; `rejected` never will be granted
        (`code` says why); `dead` waits for staff.
        """
        return answer(receipt_selectors.order(player_id=request.caller.player, order_id=order))


class AccountTokenViewSet(ApiViewSet):
    """What binds purchases to a player."""

    @endpoint(callers=("player",), answers={200: AccountTokenOut})
    def retrieve(self, request: ApiRequest) -> HttpResponse:
        """Read the UUID that binds purchases in platforms' stores to this player.

        Give it to the platform with each purchase (`appAccountToken`,
        `obfuscatedExternalAccountId`): then nobody else can claim it. It never changes.
        """
        token = ownership.account_token(player_id=request.caller.player)
        return answer(AccountTokenOut(token=token))


class NotificationViewSet(ApiViewSet):
    """The platforms' notifications."""

    @endpoint(
        callers=(),
        answers={200: None},
        raw_body=("application/json",),
        problems=(
            errors.UnknownPlatform,
            errors.NotificationRefused,
            errors.NotificationNotTrusted,
            errors.NotificationNotReadable,
            RateLimited,
        ),
    )
    def create(self, request: ApiRequest, provider: str) -> HttpResponse:
        """Take a platform's own notification.

        App Store Server Notifications V2 (`apple`), Google Play's real-time developer
        notifications (`google`). The platform's signature is its credential. A notification is
        stored once and answered; a worker does what follows from it. Those that are refused count
        against a limit of their sender's address.
        """
        # Taken before the signature is checked, which costs the most, and given back where it was
        # good: what platforms send is never limited, however much comes at once from an address.
        sender = limited_address(request.client_ip)
        with gate.count_misses(
            ("notices_refused", sender),
            # What can't be checked just now is sent again.
            is_miss=lambda error: not isinstance(error, errors.NotificationNotReadable),
        ):
            body = read_body(request, settings.MAX_BODY_BYTES)
            stored = notices.receive(provider=provider, headers=request.headers, body=body)
        if stored is not None:
            hasten(tasks.process_notice, str(stored))
        return HttpResponse(status=200)


def provider_and_receipt(body: ReceiptIn, at: str = "") -> tuple[str, Any]:
    """The provider's name and what its `read_receipt` takes; `at` points to the receipt in the
    request's body. Raises `ValidationFailed`, `UnknownPlatform`."""
    if body.store is None:
        if body.provider is None or body.receipt is None:
            raise invalid(
                f"{at}/provider" if body.provider is None else f"{at}/receipt",
                "Send provider and receipt, or a Unity receipt",
                "required",
            )
        return body.provider, body.receipt
    provider = UNITY_STORES.get(body.store)
    if provider is None:
        raise errors.UnknownPlatform(f"Nothing is bought in {body.store[:40]}", provider=body.store)
    unity = {"Store": body.store, "TransactionID": body.transaction_id, "Payload": body.payload}
    if body.jws is not None:
        unity["jws"] = body.jws
    return provider, {name: value for name, value in unity.items() if value is not None}
