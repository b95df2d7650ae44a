"""A store where nothing costs anything: for development, the demo and tests.

Its receipts are signed with nothing, so whoever may send one buys what they like. It is there only
with the setting STORE_SANDBOX, with which production refuses to start.

    {"product": "gems_small", "transaction_id": "t-1"}

and, for trying things out, any of `state` (purchased, pending, cancelled), `quantity`, `kind`,
`account` (an account token), `revoked` (thousandths of a percent), `price_minor_units`,
`price_currency`, `country`, `signed_at`; and of a subscription (`kind`: subscription) its
`original_id` and `subscription`: `phase`, `expires_at`, `renews`, `grace_until`, `renewal_product`,
`replaces`. A notification is `{"id", "app", "purchases": [the
same], "signed_at"?}`.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from store.providers.base import (
    WHOLE,
    App,
    Environment,
    Kind,
    Notice,
    Phase,
    Receipt,
    RejectedError,
    State,
    Subscription,
    Verified,
)

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Subscribed(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a subscription of this store is in, as whoever sends it says."""

    phase: Phase = Phase.ACTIVE
    expires_at: Moment | None = None
    renews: bool = True
    renewal_product: Annotated[str, msgspec.Meta(max_length=200)] = ""
    grace_until: Moment | None = None
    replaces: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Bought(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A purchase in this store, as whoever sends it says."""

    product: Text
    transaction_id: Text
    state: State = State.PURCHASED
    kind: Kind = Kind.UNKNOWN
    quantity: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    account: UUID | None = None
    revoked: Annotated[int, msgspec.Meta(ge=0, le=WHOLE)] = 0
    price_minor_units: Annotated[int, msgspec.Meta(ge=0, le=10**9)] | None = None
    price_currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")] = ""
    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")] = ""
    signed_at: Moment | None = None
    original_id: Text | None = None
    subscription: Subscribed | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """A notification of this store."""

    id: Text
    app: Text
    purchases: Annotated[list[Bought], msgspec.Meta(max_length=100)]
    signed_at: Moment | None = None


class SandboxProvider:
    """Believes everything."""

    name = "sandbox"

    def read_receipt(self, receipt: Any) -> Receipt:
        bought = _convert(receipt, Bought)
        return Receipt(
            identity=bought.transaction_id,
            data=msgspec.to_builtins(bought),
            product=bought.product,
        )

    def verify(self, app: App, receipt: Receipt) -> list[Verified]:
        return [_verified(app.app_id, _convert(dict(receipt.data), Bought))]

    def look_up(self, app: App, known: Verified) -> list[Verified]:
        return [known]

    def tell(self, app: App, known: Verified, *, consume: bool) -> None:
        return None

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        try:
            message = msgspec.json.decode(body, type=Message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RejectedError("malformed", str(error)) from None
        return Notice(
            id=message.id,
            kind="PURCHASES",
            app_id=message.app,
            signed_at=message.signed_at or datetime.now(UTC),
            data={"purchases": json.loads(msgspec.json.encode(message.purchases))},
        )

    def resolve(self, app: App, notice: Notice) -> list[Verified]:
        return [
            _verified(app.app_id, _convert(bought, Bought)) for bought in notice.data["purchases"]
        ]

    def missed(self, app: App, since: datetime, until: datetime) -> Iterator[Verified | Notice]:
        return iter(())


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise RejectedError("malformed", str(error)) from None


def _verified(app_id: str, bought: Bought) -> Verified:
    said = bought.subscription
    return Verified(
        environment=Environment.SANDBOX,
        app_id=app_id,
        transaction_id=bought.transaction_id,
        original_id=bought.original_id or bought.transaction_id,
        product=bought.product,
        signed_at=bought.signed_at or datetime.now(UTC),
        state=bought.state,
        kind=bought.kind,
        quantity=bought.quantity,
        account=bought.account,
        revoked=bought.revoked,
        revoked_at=datetime.now(UTC) if bought.revoked else None,
        price_minor_units=bought.price_minor_units,
        price_currency=bought.price_currency,
        country=bought.country,
        subscription=Subscription(**msgspec.structs.asdict(said)) if said else None,
    )
