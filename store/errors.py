"""What the store refuses with."""

from config.api.problems import Problem


class InsufficientFunds(Problem):
    """The wallet has less than the price, or is in debt after a refund. `currency` names which."""

    status, code, title = 409, "insufficient_funds", "There is not enough in the wallet"


class InsufficientItems(Problem):
    """The stack has fewer than were to be consumed. `item` names which."""

    status, code, title = 409, "insufficient_items", "There are not enough of this item"


class BalanceLimit(Problem):
    """The balance would grow beyond the currency's maximum. `currency` names which."""

    status, code, title = 409, "balance_limit", "The wallet can't hold that much"


class StackLimit(Problem):
    """The stack would grow beyond the item's maximum. `item` names which."""

    status, code, title = 409, "stack_limit", "The stack can't hold that many"


class OfferNotAvailable(Problem):
    """There is no such offer now, or it is not sold for virtual currency."""

    status, code, title = 409, "offer_not_available", "This offer can't be bought now"


class PriceChanged(Problem):
    """The offer's price is not the `expected_price`; `price` is what it is now."""

    status, code, title = 409, "price_changed", "The price has changed"


class LimitReached(Problem):
    """The player may not buy as many of this offer; `left` is how many are left."""

    status, code, title = 409, "limit_reached", "The limit of this offer is reached"


class NotConsumable(Problem):
    """The item is durable: it is kept, not consumed."""

    status, code, title = 409, "not_consumable", "This item can't be consumed"


class UnknownContent(Problem):
    """The game has no currency or item of this key; `currency` or `item` names it."""

    status, code, title = 422, "unknown_content", "The game does not have this"
