"""Wire formats of receipts and orders."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from config.api.wire import UNSET, Input, Output, UnsetType
from store.serializers import Contents

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
Jws = Annotated[str, msgspec.Meta(min_length=1, max_length=50_000)]
Status = Literal["received", "verifying", "granted", "rejected", "deferred", "refunded", "dead"]


class ReceiptIn(Input, frozen=True):
    """A receipt. Either `provider` and `receipt`, or a Unity IAP receipt as Unity gives it
    (`Store`, `TransactionID`, `Payload`), with the signed transaction in `jws` if there is one."""

    provider: Name | None = None
    receipt: dict[str, Any] | str | None = None
    store: Name | None = msgspec.field(default=None, name="Store")
    transaction_id: str | None = msgspec.field(default=None, name="TransactionID")
    payload: dict[str, Any] | str | None = msgspec.field(default=None, name="Payload")
    jws: Jws | None = None


class OrderOut(Output):
    """What became of a receipt. `code` says why it was rejected, or waits for staff; `granted` is
    what the player has of it, refunds taken off."""

    id: UUID
    provider: str
    status: Status
    product: str
    created_at: datetime
    updated_at: datetime
    code: str | UnsetType = UNSET
    offer: str | UnsetType = UNSET
    granted: Contents | UnsetType = UNSET


class AccountTokenOut(Output):
    """The UUID that binds purchases in platforms' stores to the player."""

    token: UUID
