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


class CoolingDown(Problem):
    """The player bought this offer a short while ago; `available_at` is when it can be again."""

    status, code, title = 409, "cooling_down", "This offer can't be bought again yet"


class RequirementNotMet(Problem):
    """The offer is for other players, or not yet for this one; `requirement` says what is missing:
    `app_version`, `country`, `segment`, `stat` or `offer`."""

    status, code, title = 409, "requirement_not_met", "This offer asks for something else first"


class PriceChanged(Problem):
    """The offer's price is not the `expected_price`, or it has none in the currencies of
    `pay_with`; `price` is what it is now (the first of `prices`)."""

    status, code, title = 409, "price_changed", "The price has changed"


class LimitReached(Problem):
    """The player may not buy as many of this offer, or the codes of this campaign are redeemed;
    `left` is how many are left."""

    status, code, title = 409, "limit_reached", "The limit is reached"


class NotGiftable(Problem):
    """The game does not let players buy this offer for others."""

    status, code, title = 409, "not_giftable", "This offer can't be given"


class NotFriends(Problem):
    """The player who would get the gift is no friend of the caller."""

    status, code, title = 409, "not_friends", "Gifts are for friends"


class GiftNotPossible(Problem):
    """The friend can't take this gift just now, or the player may not give. Why, nobody is told."""

    status, code, title = 409, "gift_not_possible", "This friend can't take this gift"


class GiftsUsedUp(Problem):
    """It would be more than a player may give within 24 hours. A gift of five counts as five."""

    status, code, title = 409, "gifts_used_up", "No more gifts can be given today"


class NotConsumable(Problem):
    """The item is durable: it is kept, not consumed."""

    status, code, title = 409, "not_consumable", "This item can't be consumed"


class UnknownContent(Problem):
    """The game has no currency or item of this key; `currency` or `item` names it."""

    status, code, title = 422, "unknown_content", "The game does not have this"


class CodeInvalid(Problem):
    """There is no such code, or it can't be redeemed yet. Too many of these are `rate_limited`."""

    status, code, title = 422, "code_invalid", "This code is not valid"


class CodeUsed(Problem):
    """Another player has redeemed this code."""

    status, code, title = 409, "code_used", "This code has been used"


class CodeExpired(Problem):
    """The code's time is over."""

    status, code, title = 409, "code_expired", "This code has expired"


class NotEligible(Problem):
    """The code is for other players: of certain countries, or new to the game."""

    status, code, title = 409, "not_eligible", "This code is not for this player"


class InvalidCodes(Problem):
    """In the back office: these codes can't be made or changed like that; the detail says why."""

    status, code, title = 422, "invalid_codes", "Codes can't be made like that"


class CodeTaken(Problem):
    """In the back office: another campaign of the game has this word."""

    status, code, title = 409, "code_taken", "This word is taken"


class RequestDecided(Problem):
    """In the back office: this grant was approved or refused already, or has expired."""

    status, code, title = 409, "request_decided", "This request is decided already"


class NotForDecision(Problem):
    """In the back office: the purchase is not in a state in which staff can decide that; the detail
    says why."""

    status, code, title = 409, "not_for_decision", "That can't be decided about this purchase"


class SecondPersonNeeded(Problem):
    """In the back office: nobody decides about a grant of their own."""

    status, code, title = 403, "second_person_needed", "A second person has to decide"


class UnknownPlatform(Problem):
    """The game sells nothing through this platform's store; `provider` names it."""

    status, code, title = 422, "unknown_platform", "The game sells nothing through this platform"


class ReceiptRefused(Problem):
    """This is no receipt that could ever be verified; `reason` says why."""

    status, code, title = 422, "receipt_refused", "The receipt can't be read"


class NotificationRefused(Problem):
    """The notification can't be read; `reason` says why."""

    status, code, title = 422, "notification_refused", "The notification can't be read"


class NotificationNotTrusted(Problem):
    """The notification does not come from the platform; `reason` says why."""

    status, code, title = 401, "notification_not_trusted", "The sender is not the platform"


class NotificationNotReadable(Problem):
    """The notification can't be checked just now. Send it again."""

    status, code, title = 503, "notification_not_readable", "Send the notification again later"
