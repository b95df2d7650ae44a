"""Endpoints of subscriptions, and of restoring what was bought."""

from django.http import HttpResponse

from config.api.callers import ApiRequest
from config.api.pagination import Page, PageQuery
from config.api.views import ApiViewSet, answer, endpoint
from config.hooks import hasten
from store import errors, receipt_selectors, subscription_selectors, tasks
from store.receipt_serializers import ReceiptIn
from store.receipt_views import provider_and_receipt
from store.services import restorations
from store.services.restorations import Restored, Unreadable
from store.subscription_serializers import (
    RestorationIn,
    RestorationOut,
    RestoredOut,
    SubscriptionOut,
)

# Fifty receipts, some of them long: an app receipt of the App Store holds every purchase.
MAX_BODY = 1024 * 1024


class SubscriptionViewSet(ApiViewSet):
    """Subscriptions in the platforms' stores."""

    @endpoint(callers=("player",), answers={200: Page[SubscriptionOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List own subscriptions, newest first, those that are over too.

        `is_entitled` is the answer to whether the player has what `entitlement` names. What
        platforms tell late, or not at all, is asked for: nothing has to be sent to keep this true.
        """
        player = request.caller.player
        return answer(subscription_selectors.subscriptions(player_id=player, query=query))


class RestorationViewSet(ApiViewSet):
    """What was bought before, on another device."""

    @endpoint(
        callers=("player",),
        body=RestorationIn,
        answers={202: RestorationOut},
        limits=("restorations",),
        idempotent="optional",
        max_body=MAX_BODY,
        example={
            "receipts": [
                {
                    "provider": "sandbox",
                    "receipt": {"product": "gems_small", "transaction_id": "t-1"},
                }
            ]
        },
    )
    def create(self, request: ApiRequest, body: RestorationIn) -> HttpResponse:
        """Restore durable purchases and subscriptions, for their first owner.

        Send the receipts that the platform's library has on this device. Each becomes an order, or
        is the one that it was before: what was granted once is never granted again. A purchase that
        another player owns is rejected with `owned_by_another`, and staff look at it. One receipt
        that can't be read does not keep the others from it. The platforms are asked anew about the
        player's subscriptions.
        """
        caller = request.caller
        receipts = [_read(one, f"/receipts/{at}") for at, one in enumerate(body.receipts)]
        restored = restorations.restore(
            game_id=caller.game_id, player_id=caller.player, receipts=receipts
        )
        for one in restored:
            if isinstance(one, Restored) and one.is_new:
                hasten(tasks.process_order, str(one.order.pk))
        hasten(tasks.ask_about_subscriptions_of, str(caller.player))
        return answer(RestorationOut(results=_out(restored)), status=202)


def _read(receipt: ReceiptIn, at: str) -> tuple[str, object] | Unreadable:
    try:
        return provider_and_receipt(receipt, at)
    except errors.UnknownPlatform as error:
        return error


def _out(restored: list[Restored | Unreadable]) -> list[RestoredOut]:
    found = receipt_selectors.orders_out(
        [one.order for one in restored if isinstance(one, Restored)]
    )
    return [
        RestoredOut(order=found[one.order.pk]) if isinstance(one, Restored) else _error(one)
        for one in restored
    ]


def _error(error: Unreadable) -> RestoredOut:
    if isinstance(error, errors.ReceiptRefused):
        return RestoredOut(code="receipt_refused", reason=error.extra["reason"])
    return RestoredOut(code="unknown_platform")
