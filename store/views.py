"""Endpoints of the store."""

from typing import TYPE_CHECKING
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone

from accounts.authentication import limited_address
from accounts.errors import PlayerMerged
from config.api.callers import ApiRequest
from config.api.idempotency import mark_replayed, read_key, request_fingerprint
from config.api.pagination import Page, PageQuery
from config.api.parsing import invalid
from config.api.preconditions import content_etag, is_not_modified
from config.api.problems import NotFound
from config.api.views import ApiViewSet, answer, endpoint
from config.api.wire import encode, utc
from store import errors, selectors, shop
from store.models import Grant
from store.serializers import (
    ConsumeIn,
    Contents,
    GiftedOut,
    GiftOut,
    GiftQuery,
    GrantIn,
    GrantOut,
    ItemOut,
    Movement,
    OfferOut,
    OfferQuery,
    PurchaseIn,
    PurchaseOut,
    RedemptionIn,
    RedemptionOut,
    StackOut,
    Wallet,
)
from store.services import grants, inventory, purchases, redemptions
from store.services.shoppers import Shopper

if TYPE_CHECKING:
    from collections.abc import Mapping

APP_VERSION = "The app's version, such as 2.10.0; without it, that of the sign-in counts"
# Private to the player, and to be asked about each time: an unchanged answer costs no body.
REVALIDATE = "private, no-cache"


class OfferViewSet(ApiViewSet):
    """What can be bought."""

    @endpoint(
        callers=("player",),
        query=OfferQuery,
        answers={200: Page[OfferOut], 304: None},
        headers={
            "If-None-Match": "The ETag of an earlier answer",
            "X-App-Version": APP_VERSION,
        },
        problems=(NotFound,),
        cache=REVALIDATE,
    )
    def list(self, request: ApiRequest, query: OfferQuery) -> HttpResponse:
        """List what this player can buy now.

        Offers whose window is open and whose requirements the player meets, with what the player's
        limits leave (`left`; 0: sold out for this player); with `store`, those of that store at its
        prices. Those with a `price` are bought with `POST /v1/store/purchases`, those with
        `products` through the platform's store. The `ETag` lets an unchanged answer be 304. Testers
        see drafts.
        """
        return _revalidated(request, shop.offers(shopper=_shopper(request), query=query))


class ItemViewSet(ApiViewSet):
    """What the game's items are."""

    @endpoint(
        callers=("player",),
        query=PageQuery,
        answers={200: Page[ItemOut], 304: None},
        headers={"If-None-Match": "The ETag of an earlier answer"},
        cache=REVALIDATE,
    )
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List the game's items.

        All that are not archived, with their titles in the player's language and the game's own
        `properties`; of bundles, what is in them. The `ETag` lets an unchanged answer be 304.
        """
        return _revalidated(request, shop.items(shopper=_shopper(request), query=query))


class WalletViewSet(ApiViewSet):
    """What a player has of each currency."""

    @endpoint(callers=("player",), answers={200: Wallet})
    def retrieve(self, request: ApiRequest) -> HttpResponse:
        """Read own balances.

        All currencies of the game. What a player begins with is given, once, when the wallet is
        first read or used.
        """
        caller = request.caller
        return answer(selectors.wallet(game_id=caller.game_id, player_id=caller.player))

    @endpoint(callers=("player",), answers={200: Page[Movement]}, query=PageQuery)
    def movements(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List own ledger, newest first.

        Every change of a balance with its cause; `balance_after` is the balance it left.
        """
        caller = request.caller
        return answer(
            selectors.movements(game_id=caller.game_id, player_id=caller.player, query=query)
        )


class InventoryViewSet(ApiViewSet):
    """What a player owns."""

    @endpoint(callers=("player",), answers={200: Page[StackOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List own items."""
        caller = request.caller
        return answer(
            selectors.inventory(game_id=caller.game_id, player_id=caller.player, query=query)
        )

    @endpoint(
        callers=("player",),
        body=ConsumeIn,
        answers={200: StackOut},
        idempotent="domain-optional",
        problems=(errors.NotConsumable, errors.InsufficientItems),
        example={"quantity": 1},
    )
    def consume(self, request: ApiRequest, item: str, body: ConsumeIn) -> HttpResponse:
        """Use up a quantity of a consumable item.

        Answers with what is left. Send an `Idempotency-Key`, so that a repetition after a lost
        answer does not use up twice; the key is remembered for ever.
        """
        caller = request.caller
        key = read_key(request)
        done = inventory.consume(
            game_id=caller.game_id,
            player_id=caller.player,
            item=item,
            quantity=body.quantity,
            key=key,
            fingerprint=request_fingerprint(request) if key else None,
            session_id=caller.session_id,
        )
        response = answer(
            StackOut(item=done.item, quantity=done.quantity, updated_at=utc(done.updated_at))
        )
        return mark_replayed(response) if done.replayed else response


class PurchaseViewSet(ApiViewSet):
    """Buying with virtual currency."""

    @endpoint(
        callers=("player",),
        body=PurchaseIn,
        answers={201: PurchaseOut},
        idempotent="domain",
        headers={"X-App-Version": APP_VERSION},
        problems=(
            errors.OfferNotAvailable,
            errors.RequirementNotMet,
            errors.PriceChanged,
            errors.CoolingDown,
            errors.LimitReached,
            errors.InsufficientFunds,
            errors.BalanceLimit,
            errors.StackLimit,
            errors.NotGiftable,
            errors.NotFriends,
            errors.GiftNotPossible,
            errors.GiftsUsedUp,
        ),
        example={"offer": "koi", "quantity": 1, "expected_price": {"petals": 50}},
    )
    def create(self, request: ApiRequest, body: PurchaseIn) -> HttpResponse:
        """Buy an offer with virtual currency.

        One transaction debits, grants and counts the limit, or nothing happens. With
        `expected_price`, the price of one as the player saw it, a price that has changed is
        refused and never a surprise. Where an offer has several prices, `pay_with` chooses one by
        its currencies; `store` names the store whose prices count. `price` and `granted` of the
        answer are totals. The `Idempotency-Key` is remembered for ever.

        With `gift_to` a friend gets what is `giftable`, in the same transaction; price, limits and
        requirements are the caller's.
        """
        key = read_key(request, required=True)
        caller = request.caller
        bought = purchases.purchase(
            game_id=caller.game_id,
            player_id=caller.player,
            offer=body.offer,
            quantity=body.quantity,
            store=body.store,
            pay_with=body.pay_with,
            expected_price=body.expected_price,
            gift_to=body.gift_to,
            key=str(key),
            fingerprint=request_fingerprint(request),
            session_id=caller.session_id,
            is_tester=caller.is_tester,
            app_version=_app_version(request),
        )
        out = PurchaseOut(
            id=bought.id,
            offer=bought.offer,
            quantity=bought.quantity,
            price=dict(bought.price),
            granted=_contents(bought.granted),
            balances=selectors.balances(caller.game_id, bought.wallet),
        )
        if bought.gift is not None:
            out.gift = GiftedOut(
                id=bought.gift.pk,
                player=bought.gift.recipient_id,
                contents=Contents(currencies=bought.gift.currencies, items=bought.gift.items),
            )
        response = answer(out, status=201)
        return mark_replayed(response) if bought.replayed else response


class GiftViewSet(ApiViewSet):
    """What friends have given each other."""

    @endpoint(callers=("player",), answers={200: Page[GiftOut]}, query=GiftQuery)
    def list(self, request: ApiRequest, query: GiftQuery) -> HttpResponse:
        """List the gifts that the caller has received, or with `?direction=sent` has given.

        The newest first. They are given with `POST /v1/store/purchases` and its `gift_to`.
        """
        return answer(selectors.gifts(player_id=request.caller.player, query=query))


class RedemptionViewSet(ApiViewSet):
    """Promotion codes."""

    @endpoint(
        callers=("player",),
        body=RedemptionIn,
        answers={201: RedemptionOut},
        limits=("codes",),
        idempotent="optional",
        problems=(
            errors.CodeInvalid,
            errors.CodeUsed,
            errors.CodeExpired,
            errors.NotEligible,
            errors.LimitReached,
            errors.BalanceLimit,
            errors.StackLimit,
        ),
        example={"code": "LANTERNS"},
    )
    def create(self, request: ApiRequest, body: RedemptionIn) -> HttpResponse:
        """Redeem a promotion code.

        Once for each player and code, for ever: the same code again gives nothing, and answers
        with the first outcome. What would not fit below a currency's or a stack's maximum is
        refused whole, and the code can be redeemed later. Codes that do not exist count against
        limits of their own.
        """
        caller = request.caller
        redeemed = redemptions.redeem(
            game_id=caller.game_id,
            player_id=caller.player,
            typed=body.code,
            address=limited_address(request.client_ip),
            session_id=caller.session_id,
        )
        response = answer(
            RedemptionOut(
                id=redeemed.id,
                campaign=redeemed.campaign,
                granted=Contents(currencies=dict(redeemed.currencies), items=dict(redeemed.items)),
                balances=selectors.balances(caller.game_id, redeemed.wallet),
            ),
            status=201,
        )
        return mark_replayed(response) if redeemed.replayed else response


class GrantViewSet(ApiViewSet):
    """Value given by game servers."""

    @endpoint(
        callers=("server",),
        scope="grants:write",
        body=GrantIn,
        answers={201: GrantOut},
        idempotent="domain",
        problems=(errors.UnknownContent, errors.BalanceLimit, errors.StackLimit, PlayerMerged),
        example={"reason": "event_prize", "currencies": {"petals": 100}, "items": {"koi": 1}},
    )
    def create(self, request: ApiRequest, player: UUID, body: GrantIn) -> HttpResponse:
        """Give a player currencies and items.

        Once for the `Idempotency-Key`, for ever. What would not fit below a currency's or a
        stack's maximum is refused whole.
        """
        if not body.currencies and not body.items:
            raise invalid("", "Give at least one currency or item", "required")
        caller = request.caller
        key = read_key(request, required=True)
        given = grants.grant(
            game_id=caller.game_id,
            player_id=player,
            currencies=body.currencies,
            items=body.items,
            key=f"server:{caller.owner}:{key}",
            reason=body.reason,
            reference=body.reference,
            source=Grant.Source.SERVER,
            actor=str(caller.owner),
            fingerprint=request_fingerprint(request),
            overflow="refuse",
        )
        response = answer(
            GrantOut(
                id=given.pk,
                player=given.player_id,
                reason=given.reason,
                reference=given.reference,
                currencies=given.currencies,
                items=given.items,
                created_at=utc(given.created_at),
            ),
            status=201,
        )
        return mark_replayed(response) if given.is_replay else response


def _shopper(request: ApiRequest) -> Shopper:
    caller = request.caller
    return Shopper(
        caller.game_id,
        caller.player,
        timezone.now(),
        is_tester=caller.is_tester,
        app_version=_app_version(request),
        session_id=caller.session_id,
    )


def _app_version(request: ApiRequest) -> str:
    return request.headers.get("X-App-Version", "")[:40]


def _revalidated(request: ApiRequest, page: object) -> HttpResponse:
    """The page, or 304 where the client has it."""
    body = encode(page)
    tag = content_etag(body)
    if is_not_modified(request, tag):
        return HttpResponse(status=304, headers={"ETag": tag})
    return HttpResponse(body, content_type="application/json", headers={"ETag": tag})


def _contents(granted: "Mapping[str, Mapping[str, int]]") -> Contents:
    return Contents(
        currencies=dict(granted.get("currencies", {})), items=dict(granted.get("items", {}))
    )
