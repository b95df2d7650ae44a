"""What a platform's store has to be able to do, and what it answers.

A provider translates: it knows a platform's formats, signatures and calls, and nothing of
players, offers or the ledger. It keeps no state but caches of keys, tokens and verifiers, opens no
database transaction, and every call of its own has connect and read timeouts. `read_*` run
in the request and never touch the network; everything else runs in workers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID


class Environment(StrEnum):
    PRODUCTION = "production"
    SANDBOX = "sandbox"


class Kind(StrEnum):
    CONSUMABLE = "consumable"
    DURABLE = "durable"
    SUBSCRIPTION = "subscription"
    # The platform does not say; the offer's contents decide.
    UNKNOWN = "unknown"


class State(StrEnum):
    """Whether the platform has taken the money."""

    PURCHASED = "purchased"
    PENDING = "pending"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """What a subscription is in. Only the first four entitle."""

    ACTIVE = "active"
    GRACE = "grace"
    CANCELLED = "cancelled"  # will not renew; entitles until `expires_at`
    TRIAL = "trial"
    HOLD = "hold"
    PAUSED = "paused"
    PENDING = "pending"
    EXPIRED = "expired"


# All of it was taken back: thousandths of a percent, as Apple counts them.
WHOLE = 100_000


@dataclass(frozen=True, slots=True)
class App:
    """A game's app in a platform's store, with what is needed to speak for it.

    app_id    bundle id, package name, …
    options   what the platform needs beside the secret; each provider names its own
    secret    private key or service account, from the environment; "" where none is set
    """

    app_id: str
    options: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a client sent, brought into one form, before anybody asked the platform.

    identity   what makes two receipts the same, hashed for the inbox's unique index
    data       what `verify` needs; JSON values
    product    as the client says, for showing; "" where the receipt does not tell
    """

    identity: str
    data: Mapping[str, Any]
    product: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """The subscription that a transaction belongs to, as it is now.

    since   when the transaction's period began, where what is said is of this period and not of
            the latest: then news of an earlier period never changes what is known of a later one
    """

    phase: Phase
    expires_at: datetime | None
    renews: bool
    renewal_product: str = ""
    grace_until: datetime | None = None
    # What this one replaces (upgrade, downgrade, resubscription): the other's original id.
    replaces: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """One line of one transaction, as the platform itself says.

    (environment, app_id, transaction_id, line) is unique in the platform, for ever.
    signed_at   when the platform said so; older data never changes what newer data said
    revoked     how much the platform has taken back, in thousandths of a percent; 0: nothing
    token       what the platform wants to hear when told; "" where it needs none
    account     the player's account token that the client bound to the purchase, if any
    refunds_last  the platform never undoes a refund: what it once said was taken back stays so,
                whatever it says later or said before
    """

    environment: Environment
    app_id: str
    transaction_id: str
    product: str
    signed_at: datetime
    state: State = State.PURCHASED
    kind: Kind = Kind.UNKNOWN
    line: str = ""
    original_id: str = ""
    quantity: int = 1
    purchased_at: datetime | None = None
    account: UUID | None = None
    revoked: int = 0
    revoked_at: datetime | None = None
    price_minor_units: int | None = None
    price_currency: str = ""
    country: str = ""
    token: str = ""
    # The platform still waits to be told (acknowledged, consumed).
    must_tell: bool = False
    is_family_shared: bool = False
    refunds_last: bool = False
    subscription: Subscription | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A platform's notification, verified as coming from it.

    id         unique in the platform: the same one again is dropped
    kind       as the platform names it, for staff
    signed_at  when the platform made it
    data       what `resolve` needs; JSON values
    """

    id: str
    kind: str
    app_id: str
    signed_at: datetime
    data: Mapping[str, Any]


class ProviderError(Exception):
    """A provider could not answer. `code` is stable and shown to players and staff."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(detail or code)
        self.code = code
        self.detail = detail


class TryAgainError(ProviderError):
    """Later it may work: network, 5xx, 429. `after`: seconds that the platform asks to wait.
    `counts` says whether the circuit breaker counts it against the platform."""

    def __init__(
        self, code: str, detail: str = "", *, after: float | None = None, counts: bool = True
    ) -> None:
        super().__init__(code, detail)
        self.after = after
        self.counts = counts


class RejectedError(ProviderError):
    """It is no valid receipt of this app, and never will be."""


class MisconfiguredError(ProviderError):
    """Nothing is wrong with the receipt: our own settings are. For staff; nothing is lost."""


class Provider(Protocol):
    """A platform's store. Instances live as long as the process and are used by many threads."""

    name: str

    def read_receipt(self, receipt: Any) -> Receipt:
        """What the client sent as `receipt`, checked as far as that takes no network and no
        database. Raises `RejectedError` (the API answers 422 at once)."""
        ...

    def verify(self, app: App, receipt: Receipt) -> list[Verified]:
        """Ask the platform. Raises `TryAgainError`, `RejectedError`, `MisconfiguredError`."""
        ...

    def look_up(self, app: App, known: Verified) -> list[Verified]:
        """What the platform says now of a transaction that was verified before."""
        ...

    def tell(self, app: App, known: Verified, *, consume: bool) -> None:
        """Tell the platform that the purchase was granted. May be called twice."""
        ...

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """Check where a notification comes from, without the network where its keys are known.
        Raises `RejectedError` (401 or 422), or `TryAgainError` (503: it is sent again)."""
        ...

    def resolve(self, app: App, notice: Notice) -> list[Verified]:
        """What the notification is about, asked of the platform or read from what it signed."""
        ...

    def missed(self, app: App, since: datetime, until: datetime) -> Iterator[Verified | Notice]:
        """What happened in that time, for finding what notifications missed."""
        ...
