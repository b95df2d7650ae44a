"""What Google Play says of purchases, and what the store makes of it."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from store.providers.base import WHOLE, App, RejectedError, TryAgainError, Verified
from store.providers.google import GoogleProvider
from tests.fakes.faults import BROKEN, HTML, Answer
from tests.fakes.play_sales import new_token
from tests.fakes.play_store import PlayStore, failure

FORBIDDEN = failure(403, "permissionDenied")


@pytest.fixture(autouse=True)
def _server(play: PlayStore) -> None:
    """All of these ask one."""


class Buyer:
    """Verifies tokens of one app, as a worker does."""

    def __init__(self, google: GoogleProvider, app: App) -> None:
        self.google, self.app = google, app

    def verify(self, token: str, *, subscription_first: bool = False) -> list[Verified]:
        given = {"purchaseToken": token} | ({"autoRenewing": True} if subscription_first else {})
        return self.google.verify(self.app, self.google.read_receipt(given))

    def one(self, token: str) -> Verified:
        (found,) = self.verify(token)
        return found


@pytest.fixture
def buyer(google: GoogleProvider, garden: App) -> Buyer:
    return Buyer(google, garden)


# Products


def test_product__bought__all_that_google_says(buyer: Buyer, play: PlayStore) -> None:
    account = uuid.uuid4()
    token = play.sell("gems_small", quantity=2, account=str(account))
    before = datetime.now(UTC)
    found = buyer.one(token)
    assert before <= found.signed_at <= datetime.now(UTC)
    assert found.purchased_at is not None
    assert abs(found.purchased_at - before) < timedelta(minutes=1)
    assert found == Verified(
        environment=found.environment,
        app_id=buyer.app.app_id,
        transaction_id=token,
        line="gems_small",
        product="gems_small",
        signed_at=found.signed_at,
        original_id=play.products[token]["orderId"],
        quantity=2,
        purchased_at=found.purchased_at,
        account=account,
        price_minor_units=499,
        price_currency="EUR",
        country="DE",
        token=token,
        must_tell=True,
        refunds_last=True,
    )
    assert found.environment == "production"


def test_products__several_in_one_purchase__a_line_each(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("sword", "shield")
    sword, shield = buyer.verify(token)
    assert sword.transaction_id == shield.transaction_id == token
    assert (sword.line, shield.line) == ("sword", "shield")
    # A line that goes does not change the other's name.
    del play.products[token]["productLineItem"][0]
    assert buyer.one(token).line == "shield"


def test_products__the_same_twice__two_lines(buyer: Buyer, play: PlayStore) -> None:
    lines = buyer.verify(play.sell("gems", "sword", "gems", "gems"))
    assert [line.line for line in lines] == ["gems", "sword", "gems#2", "gems#3"]
    assert [line.product for line in lines] == ["gems", "sword", "gems", "gems"]


def test_test_purchase__is_the_sandbox(buyer: Buyer, play: PlayStore) -> None:
    assert buyer.one(play.sell("gems_small", is_test=True)).environment == "sandbox"
    token = play.sell("gems_small")
    play.products[token]["testPurchaseContext"] = {}
    assert buyer.one(token).environment == "sandbox"


@pytest.mark.parametrize("account", ["", "player-7", "{", "0" * 64])
def test_account__no_uuid__nobody(buyer: Buyer, play: PlayStore, account: str) -> None:
    assert buyer.one(play.sell("gems_small", account=account)).account is None


def test_pending__then_paid(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("gems_small", state="PENDING")
    pending = buyer.one(token)
    assert (pending.state, pending.must_tell, pending.revoked) == ("pending", False, 0)
    play.pay(token)
    (paid,) = buyer.google.look_up(buyer.app, pending)
    assert (paid.state, paid.must_tell) == ("purchased", True)
    assert (paid.transaction_id, paid.line) == (pending.transaction_id, pending.line)
    assert paid.signed_at > pending.signed_at


def test_pending__then_cancelled__was_never_paid(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("gems_small", state="PENDING")
    play.products[token]["purchaseStateContext"] = {"purchaseState": "CANCELLED"}
    found = buyer.one(token)
    assert (found.state, found.must_tell) == ("cancelled", False)


def test_refunded__was_paid_and_taken_back(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("gems_small", quantity=3)
    play.refund(token)
    found = buyer.one(token)
    assert (found.state, found.revoked, found.must_tell) == ("purchased", WHOLE, False)


def test_refunded__by_quantity__that_share(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("gems_small", quantity=3)
    play.refund(token, quantity=1)
    found = buyer.one(token)
    assert (found.quantity, found.revoked, found.must_tell) == (3, 33_333, True)
    play.refund(token, quantity=2)
    assert buyer.one(token).revoked == WHOLE


def test_refunded__only_the_order_says_so_yet(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("gems_small")
    play.orders[play.products[token]["orderId"]]["state"] = "REFUNDED"
    assert buyer.one(token).revoked == WHOLE


def test_refundable_quantity__not_said__nothing_is_taken_back(
    buyer: Buyer, play: PlayStore
) -> None:
    token = play.sell("gems_small")
    del play.products[token]["productLineItem"][0]["productOfferDetails"]["refundableQuantity"]
    assert buyer.one(token).revoked == 0


def test_long_token__digest_is_the_id(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("gems_small", token="a." + "b" * 700)
    found = buyer.one(token)
    assert found.token == token
    assert found.transaction_id.startswith("sha256:")
    assert len(found.transaction_id) == 71
    assert buyer.one(token).transaction_id == found.transaction_id


def test_unknown_state__tried_again(buyer: Buyer, play: PlayStore) -> None:
    token = play.sell("gems_small", state="PURCHASE_STATE_UNSPECIFIED")
    with pytest.raises(TryAgainError) as later:
        buyer.verify(token)
    assert not later.value.counts
    subscription = play.subscribe(state="UNSPECIFIED")
    with pytest.raises(TryAgainError):
        buyer.verify(subscription)


@pytest.mark.parametrize("character", list("/:+=~"))
def test_token__odd_characters__one_segment_of_the_path(
    buyer: Buyer, play: PlayStore, character: str
) -> None:
    token = play.sell("gems_small", token=f"../../evil{character}..%2f".replace("%", "_") + "x" * 9)
    assert buyer.one(token).transaction_id == token


# Prices


@pytest.mark.parametrize(
    ("price", "minor_units"),
    [
        (("USD", 0, 990_000_000), 99),
        (("JPY", 160, 0), 160),
        (("KWD", 1, 500_000_000), 1500),
        (("EUR", 0, 0), 0),
    ],
)
def test_price__in_minor_units(
    buyer: Buyer, play: PlayStore, price: tuple[str, int, int], minor_units: int
) -> None:
    found = buyer.one(play.sell("gems_small", price=price))
    assert (found.price_minor_units, found.price_currency) == (minor_units, price[0])


@pytest.mark.parametrize("fault", [BROKEN, HTML, FORBIDDEN, failure(404, "notFound")])
def test_price__can_not_be_had__purchase_goes_on(
    buyer: Buyer, play: PlayStore, fault: Answer
) -> None:
    token = play.sell("gems_small")
    play.fail(fault, on="orders:batchGet")
    found = buyer.one(token)
    assert (found.state, found.price_minor_units, found.price_currency) == ("purchased", None, "")


def test_price__no_order__not_asked_for(buyer: Buyer, play: PlayStore) -> None:
    found = buyer.one(play.sell("gems_small", has_order=False))
    assert (found.price_minor_units, found.original_id) == (None, "")
    assert play.asked("orders") == []


# Subscriptions


def order_of(play: PlayStore, token: str) -> str:
    """The id of a subscription's latest order."""
    found: str = play.subscriptions[token]["lineItems"][0]["latestSuccessfulOrderId"]
    return found


def test_subscription__bought__its_token_is_the_transaction(buyer: Buyer, play: PlayStore) -> None:
    account = uuid.uuid4()
    token = play.subscribe("pass", account=str(account))
    found = buyer.one(token)
    assert (found.transaction_id, found.original_id, found.line) == (token, token, "pass")
    assert (found.kind, found.state, found.must_tell) == ("subscription", "purchased", True)
    assert (found.account, found.country, found.price_minor_units) == (account, "JP", 999)
    assert found.subscription is not None
    assert (found.subscription.phase, found.subscription.renews) == ("active", True)
    assert found.subscription.expires_at is not None
    assert found.subscription.expires_at > datetime.now(UTC) + timedelta(days=29)


def test_subscription__renewed__another_transaction_of_the_same_series(
    buyer: Buyer, play: PlayStore
) -> None:
    token = play.subscribe()
    first = buyer.one(token)
    order_id = order_of(play, token)
    renewals = [play.renew(token), play.renew(token)]
    assert renewals == [f"{order_id}..0", f"{order_id}..1"]
    found = buyer.one(token)
    assert (found.transaction_id, found.original_id) == (renewals[1], first.original_id)


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("ACTIVE", "active"),
        ("PAUSED", "paused"),
        ("IN_GRACE_PERIOD", "grace"),
        ("ON_HOLD", "hold"),
        ("CANCELED", "cancelled"),
        ("EXPIRED", "expired"),
    ],
)
def test_subscription__states(buyer: Buyer, play: PlayStore, state: str, phase: str) -> None:
    found = buyer.one(play.subscribe(state=state))
    assert found.subscription is not None
    assert (found.state, found.subscription.phase) == ("purchased", phase)
    assert found.must_tell == (state != "EXPIRED")
    has_grace = found.subscription.grace_until is not None
    assert has_grace == (state == "IN_GRACE_PERIOD")
    assert found.subscription.renews == (state == "ACTIVE")


def test_subscription__free_trial(buyer: Buyer, play: PlayStore) -> None:
    found = buyer.one(play.subscribe(is_trial=True, price=("EUR", 0, 0)))
    assert found.subscription is not None
    assert (found.subscription.phase, found.price_minor_units) == ("trial", 0)


def test_subscription__test_purchase__an_empty_object_says_so(
    buyer: Buyer, play: PlayStore
) -> None:
    assert buyer.one(play.subscribe(is_test=True)).environment == "sandbox"


def test_subscription__upgraded__names_what_it_replaces(buyer: Buyer, play: PlayStore) -> None:
    old = play.subscribe("pass")
    found = buyer.one(play.subscribe("pass_gold", replaces=old))
    assert found.subscription is not None
    assert found.subscription.replaces == buyer.one(old).original_id


def test_subscription__product_of_the_next_period__nobody_owns_it_yet(
    buyer: Buyer, play: PlayStore
) -> None:
    token = play.subscribe("pass")
    line = play.subscriptions[token]["lineItems"][0]
    line["deferredItemReplacement"] = {"productId": "pass_lite"}
    play.subscriptions[token]["lineItems"].append({"productId": "pass_lite"})
    found = buyer.one(token)
    assert found.product == "pass"
    assert found.subscription is not None
    assert found.subscription.renewal_product == "pass_lite"


def test_subscription__several_products__each_ends_by_itself(buyer: Buyer, play: PlayStore) -> None:
    token = play.subscribe("pass")
    line = play.subscriptions[token]["lineItems"][0]
    ended = {"productId": "extra", "expiryTime": "2026-01-01T00:00:00.123456789Z"}
    play.subscriptions[token]["lineItems"].append(line | ended)
    phases = {found.product: found.subscription for found in buyer.verify(token)}
    assert phases["pass"] is not None
    assert phases["pass"].phase == "active"
    assert phases["extra"] is not None
    assert phases["extra"].phase == "expired"


def test_subscription__pending_then_paid__the_same_transaction(
    buyer: Buyer, play: PlayStore
) -> None:
    token = play.subscribe(state="PENDING")
    pending = buyer.one(token)
    assert (pending.state, pending.transaction_id, pending.must_tell) == ("pending", token, False)
    play.subscriptions[token] = play.subscriptions[play.subscribe()]
    (paid,) = buyer.google.look_up(buyer.app, pending)
    assert (paid.transaction_id, paid.line, paid.state) == (token, pending.line, "purchased")
    assert paid.signed_at > pending.signed_at


def test_subscription__pending_then_cancelled(buyer: Buyer, play: PlayStore) -> None:
    token = play.subscribe(state="PENDING_PURCHASE_CANCELED")
    found = buyer.one(token)
    assert (found.state, found.transaction_id, found.must_tell) == ("cancelled", token, False)


@pytest.mark.parametrize(("share", "revoked"), [(1, WHOLE), (0.5, 50_050)])
def test_subscription__order_refunded__whole_or_prorated(
    buyer: Buyer, play: PlayStore, share: float, revoked: int
) -> None:
    token = play.subscribe(price=("EUR", 10, 0))
    play.refund_order(order_of(play, token), share=share)
    found = buyer.one(token)
    assert abs(found.revoked - revoked) <= 50
    assert found.revoked_at is not None


def test_subscription__refunds_can_not_be_asked_for__tried_again(
    buyer: Buyer, play: PlayStore
) -> None:
    # "Not refunded" would be a guess, and would give back what a refund took.
    token = play.subscribe()
    play.fail(BROKEN, on="orders:batchGet")
    with pytest.raises(TryAgainError):
        buyer.verify(token)


def test_subscription__account_may_not_see_orders__goes_on(buyer: Buyer, play: PlayStore) -> None:
    token = play.subscribe()
    play.fail(FORBIDDEN, on="orders:batchGet")
    found = buyer.one(token)
    assert (found.state, found.price_minor_units) == ("purchased", None)


# Which of the two


def test_kind__not_said__products_then_subscriptions(buyer: Buyer, play: PlayStore) -> None:
    token = play.subscribe()
    assert buyer.one(token).kind == "subscription"
    assert [request.path.split("/")[6] for request in play.asked("tokens")] == [
        "productsv2",
        "subscriptionsv2",
    ]


def test_kind__looks_like_a_subscription__that_is_asked_first(
    buyer: Buyer, play: PlayStore
) -> None:
    buyer.verify(play.subscribe(), subscription_first=True)
    assert play.asked("productsv2") == []
    (found,) = buyer.verify(play.sell("gems_small"), subscription_first=True)
    assert found.product == "gems_small"


def test_kind__neither__rejected(buyer: Buyer, play: PlayStore) -> None:
    with pytest.raises(RejectedError) as refusal:
        buyer.verify(new_token())
    assert (refusal.value.code, len(play.asked("tokens"))) == ("unknown_transaction", 2)


def test_subscription__ended_two_months_ago__gone(buyer: Buyer, play: PlayStore) -> None:
    token = play.subscribe()
    play.forget(token)
    with pytest.raises(RejectedError) as refusal:
        buyer.verify(token)
    assert refusal.value.code == "receipt_expired"


# Looking up what is known


@pytest.mark.parametrize("renewals", [0, 1])
def test_look_up__subscription__also_the_refund_of_an_earlier_order(
    buyer: Buyer, play: PlayStore, renewals: int
) -> None:
    token = play.subscribe()
    for _ in range(renewals):
        play.renew(token)
    known, order_id = buyer.one(token), order_of(play, token)
    renewal = play.renew(token)
    play.refund_order(order_id)
    earlier, latest = buyer.google.look_up(buyer.app, known)
    assert (earlier.transaction_id, earlier.revoked) == (known.transaction_id, WHOLE)
    assert (earlier.subscription, earlier.signed_at) == (None, latest.signed_at)
    assert (latest.transaction_id, latest.revoked) == (renewal, 0)
    # Google does not show the earlier order any more.
    del play.orders[order_id]
    assert [line.transaction_id for line in buyer.google.look_up(buyer.app, known)] == [renewal]


def test_look_up__answer_that_lags_behind_a_refund__does_not_undo_it(
    buyer: Buyer, play: PlayStore
) -> None:
    known = buyer.one(play.sell("gems_small"))
    (found,) = buyer.google.look_up(buyer.app, replace(known, revoked=WHOLE))
    assert found.revoked == WHOLE


# Telling


def test_tell__acknowledge(buyer: Buyer, play: PlayStore) -> None:
    known = buyer.one(play.sell("sword"))
    buyer.google.tell(buyer.app, known, consume=False)
    product = play.products[known.token]
    assert product["acknowledgementState"].endswith("_ACKNOWLEDGED")
    assert "YET_TO_BE_CONSUMED" in str(product)
    assert buyer.one(known.token).must_tell  # nobody but the offer knows that it is kept


def test_tell__consume__acknowledges_too(buyer: Buyer, play: PlayStore) -> None:
    known = buyer.one(play.sell("gems_small"))
    buyer.google.tell(buyer.app, known, consume=True)
    assert not buyer.one(known.token).must_tell


def test_tell__subscription(buyer: Buyer, play: PlayStore) -> None:
    known = buyer.one(play.subscribe())
    buyer.google.tell(buyer.app, known, consume=False)
    assert not buyer.one(known.token).must_tell


@pytest.mark.parametrize("consume", [True, False])
@pytest.mark.parametrize("is_subscription", [True, False])
def test_tell__twice__fine(
    buyer: Buyer, play: PlayStore, consume: bool, is_subscription: bool
) -> None:
    known = buyer.one(play.subscribe() if is_subscription else play.sell("sword"))
    for _ in range(2):
        buyer.google.tell(buyer.app, known, consume=consume)


def test_tell__consumed_after_it_was_acknowledged(buyer: Buyer, play: PlayStore) -> None:
    known = buyer.one(play.sell("gems_small"))
    buyer.google.tell(buyer.app, known, consume=False)
    buyer.google.tell(buyer.app, known, consume=True)
    assert "CONSUMPTION_STATE_CONSUMED" in str(play.products[known.token])


def test_tell__refunded_meanwhile__nothing_to_tell(buyer: Buyer, play: PlayStore) -> None:
    known = buyer.one(play.sell("gems_small"))
    play.refund(known.token)
    buyer.google.tell(buyer.app, known, consume=True)


def test_tell__another_product__rejected(buyer: Buyer, play: PlayStore) -> None:
    known = replace(buyer.one(play.sell("gems_small")), product="gems_huge")
    with pytest.raises(RejectedError):
        buyer.google.tell(buyer.app, known, consume=True)
