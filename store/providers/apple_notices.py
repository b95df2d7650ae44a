"""Apple's notifications (version 2), checked and brought down to what is needed of them."""

from typing import Any
from uuid import UUID

import msgspec

from store.providers import apple_purchases
from store.providers.apple_receipts import JWS
from store.providers.apple_signed import Seals
from store.providers.base import Environment, Notice, RejectedError


class NoticeData(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `resolve` needs of a notification. `transaction` and `renewal` are signed each."""

    environment: Environment
    app_apple_id: int | None = None
    transaction: str = ""
    renewal: str = ""
    status: int | None = None


def read(seals: Seals, body: bytes) -> Notice:
    """The body of Apple's request. Raises `RejectedError`, `MisconfiguredError`."""
    try:
        sent = msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise RejectedError("malformed_notification", "The body is no JSON object") from None
    signed = sent.get("signedPayload")
    if not isinstance(signed, str) or not JWS.fullmatch(signed):
        raise RejectedError("malformed_notification", "There is no signedPayload")
    return notice(seals, signed)


def notice(seals: Seals, signed: str) -> Notice:
    """A signed notification, from a request or from the history. Raises as `read` does."""
    said, environment = seals.notification(signed)
    about: Any = said.data or said.summary or said.appData or said.externalPurchaseToken
    try:
        number = str(UUID(said.notificationUUID or ""))
    except ValueError:
        raise RejectedError("malformed_notification", "It has no notificationUUID") from None
    if not said.rawNotificationType or said.signedDate is None:
        raise RejectedError("malformed_notification", "It says not what happened, or when")
    kind = ".".join(filter(None, (said.rawNotificationType, said.rawSubtype)))
    data = NoticeData(
        environment=environment,
        app_apple_id=about.appAppleId,
        transaction=(said.data and said.data.signedTransactionInfo) or "",
        renewal=(said.data and said.data.signedRenewalInfo) or "",
        status=said.data.rawStatus if said.data else None,
    )
    return Notice(
        id=number,
        kind=kind[:100],
        app_id=about.bundleId,
        signed_at=apple_purchases.moment(said.signedDate),
        data=msgspec.to_builtins(data),
    )
