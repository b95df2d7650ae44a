"""Wire formats of subscriptions and restorations."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from config.api.wire import UNSET, Input, Output, UnsetType
from store.receipt_serializers import OrderOut, ReceiptIn

MAX_RESTORED = 50
State = Literal[
    "active",
    "trial",
    "grace",
    "cancelled",
    "hold",
    "paused",
    "pending",
    "expired",
    "revoked",
    "replaced",
]


class SubscriptionOut(Output):
    """A subscription as its platform says it is.

    `is_entitled` is the answer to whether the player has what `entitlement` names, until
    `entitled_until` if nothing changes. `renews` says whether it goes on after that, with
    `renewal_product` if that is another one; `grace_until` is until when a failed payment may be
    made up for. `offer` and `entitlement` are absent where nothing was granted.
    """

    id: UUID
    provider: str
    product: str
    state: State
    is_entitled: bool
    renews: bool
    created_at: datetime
    updated_at: datetime
    offer: str | UnsetType = UNSET
    entitlement: str | UnsetType = UNSET
    entitled_until: datetime | UnsetType = UNSET
    grace_until: datetime | UnsetType = UNSET
    renewal_product: str | UnsetType = UNSET


class RestorationIn(Input, frozen=True):
    """Receipts of what was bought before, each as in `POST /v1/store/receipts`."""

    receipts: Annotated[list[ReceiptIn], msgspec.Meta(min_length=1, max_length=MAX_RESTORED)]


class RestoredOut(Output):
    """What became of one receipt: its order, or why it can't be read (`code`, `reason`)."""

    order: OrderOut | UnsetType = UNSET
    code: Literal["unknown_platform", "receipt_refused"] | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class RestorationOut(Output):
    """What became of each receipt, in the order in which they were sent."""

    results: list[RestoredOut]
