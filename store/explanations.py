"""What support tells a player who paid and got nothing: a sentence, and what to do."""

from typing import NamedTuple

from store.models import Order, PlatformPurchase

State = PlatformPurchase.State


class Verdict(NamedTuple):
    """`level` is success, info, warning or danger; `advice` is for staff, "" where all is done."""

    level: str
    text: str
    advice: str = ""


NOT_GENUINE = (
    "This receipt is not the platform's. Ask the player for the order number in the platform's "
    "e-mail and search for that."
)
# Codes of orders and of purchases, as providers and the granting give them.
CODES: dict[str, tuple[str, str]] = {
    "unknown_product": (
        "Money was taken for a product that no offer is sold as.",
        "Have a designer add the product to an offer. Then choose “Try again” or “Grant”.",
    ),
    "sandbox_not_allowed": (
        "It was bought in the platform's sandbox, where nobody pays, and is not for this player.",
        "Nothing is owed. For a tester: mark the player as one, or grant it.",
    ),
    "family_shared": (
        "A family member bought it, and what is used up is not shared in a family.",
        "Nothing is owed to this player; the member who paid has it.",
    ),
    "quantity_out_of_bounds": (
        "The quantity is more than the books can hold.",
        "Look at the quantity. If it is true, refund it on the platform.",
    ),
    "refused_by_staff": (
        "Staff looked at it and refused it.",
        "The steps say who and why. It can still be granted.",
    ),
    "owned_by_another": (
        "Another player owns this purchase.",
        "Compare both players. Then leave it or move it.",
    ),
    "cancelled": ("The payment was cancelled: no money was taken.", ""),
    "bad_signature": ("The receipt's signature is wrong.", NOT_GENUINE),
    "not_authentic": ("The platform did not sign this receipt.", NOT_GENUINE),
    "fake_receipt": ("This is the made-up receipt of a development build.", NOT_GENUINE),
    "malformed_receipt": ("The receipt can't be read.", NOT_GENUINE),
    "malformed": ("The receipt can't be read.", NOT_GENUINE),
    "empty_receipt": ("The receipt is empty.", NOT_GENUINE),
    "no_purchase": ("The receipt has no purchase in it.", NOT_GENUINE),
    "wrong_app": ("The receipt is of another app.", NOT_GENUINE),
    "wrong_environment": (
        "The receipt is of another environment than the app's.",
        "Sandbox receipts are for test builds. Nothing is owed.",
    ),
    "platform_misconfigured": (
        "The platform refuses our key or settings.",
        "An operator has to mend the app's settings. Then choose “Try again”.",
    ),
    "platform_missing": (
        "The game has no app on this platform (any more).",
        "An operator has to add the app. Then choose “Try again”.",
    ),
    "balance_limit": ("The player's wallet has no room for it.", "Try again when it has."),
    "stack_limit": ("The player has no room for the items.", "Try again when there is."),
}
WAITS = "It is tried again by itself; “Try again” does it now."


def of_code(code: str) -> tuple[str, str]:
    """(sentence, advice) of a code; codes that nobody has described stand for themselves."""
    return CODES.get(
        code, (f"It ended with: {code}.", "Try again, and ask an operator if it stays.")
    )


def of_order(order: Order) -> Verdict:
    """Where a receipt is."""
    if order.state == Order.State.ACCEPTED:
        return Verdict("success", "Accepted.", "See its purchases below.")
    if order.state in Order.OPEN:
        tried = f" Tried {order.attempts} times: {order.last_error}." if order.last_error else ""
        return Verdict("info", f"It is being verified.{tried}", WAITS)
    text, advice = of_code(order.code)
    level = "danger" if order.state == Order.State.DEAD else "warning"
    return Verdict(level, text, advice)


def of_purchase(row: PlatformPurchase, *, is_claimed: bool = False) -> Verdict:
    """What became of a purchase; `is_claimed`: another player sent its receipt, too."""
    verdict = _of_state(row)
    if is_claimed:
        return Verdict(
            "warning",
            f"{verdict.text} {CODES['owned_by_another'][0]}"
            if row.player_id is None
            else f"{verdict.text} Two players claim it.",
            "Compare both players. Then leave it or move it.",
        )
    return verdict


def _of_state(row: PlatformPurchase) -> Verdict:
    if row.decision == PlatformPurchase.Decision.REFUND:
        return Verdict("warning", "Staff took it back.", "It can be given back.")
    if row.state == State.GRANTED:
        if row.told == PlatformPurchase.Told.FAILED:
            return Verdict(
                "danger",
                "It was granted, but the platform could not be told and may refund it.",
                "Try again.",
            )
        return Verdict("success", "It was granted, and nothing was taken back.")
    if row.state == State.PARTIALLY_REVOKED:
        return Verdict("warning", f"It was granted; {row.revoked / 1000:g} % was refunded.")
    if row.state == State.REVOKED:
        before = "granted, then" if row.granted_at else "never granted:"
        return Verdict("warning", f"It was {before} refunded by the platform.")
    if row.state == State.PENDING:
        return Verdict("info", "The platform has not taken the money yet.", WAITS)
    if row.state == State.CANCELLED:
        return Verdict("info", CODES["cancelled"][0])
    if row.player_id is None:
        return Verdict(
            "warning",
            "It is paid for, but nobody has sent its receipt: no player owns it.",
            "Ask the player to open the game, or to restore purchases; then it is theirs.",
        )
    return (
        Verdict("danger", *of_code(row.code)) if row.code else Verdict("info", "Verified.", WAITS)
    )
