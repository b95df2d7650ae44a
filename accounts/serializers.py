"""Wire formats of accounts, input and output apart."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from accounts.models import Identity, Player, Sanction, Session
from accounts.selectors import PlayerProfile, PublicPlayer
from accounts.services.opening import Opened
from config.api.pagination import PageQuery
from config.api.wire import UNSET, Input, Output, Timestamp, UnsetType, utc

__all__ = ["PlayerProfile", "PublicPlayer"]

DeviceId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
# At least 32 bytes: how a client writes its random bytes down is its own affair.
DeviceSecret = Annotated[
    str,
    msgspec.Meta(
        min_length=32,
        max_length=200,
        description="At least 32 random bytes, made on the device, as base64 or hexadecimal",
    ),
]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Label = Annotated[str, msgspec.Meta(max_length=20, pattern=r"^[A-Za-z0-9._+ -]*$")]
DeviceName = Annotated[str, msgspec.Meta(max_length=100)]
DisplayName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Avatar = Annotated[str, msgspec.Meta(max_length=100)]
Locale = Annotated[
    str, msgspec.Meta(max_length=20, pattern=r"^([A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*)?$")
]
Country = Annotated[
    str,
    msgspec.Meta(
        max_length=2, pattern=r"^([A-Z]{2})?$", description="ISO 3166-1 alpha-2, or empty"
    ),
]
TimeZone = Annotated[
    str, msgspec.Meta(min_length=1, max_length=50, description="IANA name, such as Europe/Berlin")
]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class ClientFields(Input, frozen=True, kw_only=True):
    """What a game client may say about itself; `locale`, `country` and `timezone` are what a new
    player begins with."""

    device: DeviceName = ""
    platform: Label = ""
    app_version: Label = ""
    locale: Locale = ""
    country: Country = ""
    timezone: TimeZone = "UTC"


class DeviceSignIn(ClientFields, frozen=True, kw_only=True, tag_field="method", tag="device"):
    """A guest, known by a secret that its device keeps. `create`: make one where there is none."""

    device_id: DeviceId
    device_secret: DeviceSecret
    create: bool = False


class EmailSignIn(ClientFields, frozen=True, kw_only=True, tag_field="method", tag="email"):
    """A registered player."""

    email: Email
    password: Password


class TokenSignIn(ClientFields, frozen=True, kw_only=True):
    """A player of a platform, by a token of that platform."""

    token: Token
    create: bool = False


class GoogleSignIn(TokenSignIn, frozen=True, kw_only=True, tag_field="method", tag="google"):
    """A Google account."""


class AppleSignIn(TokenSignIn, frozen=True, kw_only=True, tag_field="method", tag="apple"):
    """An Apple account."""


class FacebookSignIn(TokenSignIn, frozen=True, kw_only=True, tag_field="method", tag="facebook"):
    """A Facebook account."""


class SteamSignIn(TokenSignIn, frozen=True, kw_only=True, tag_field="method", tag="steam"):
    """A Steam account."""


class CustomSignIn(TokenSignIn, frozen=True, kw_only=True, tag_field="method", tag="custom"):
    """An account of the studio's own."""


SignIn: Any = (
    DeviceSignIn
    | EmailSignIn
    | GoogleSignIn
    | AppleSignIn
    | FacebookSignIn
    | SteamSignIn
    | CustomSignIn
)


class Refresh(Input, frozen=True, kw_only=True):
    """A refresh token, which this spends."""

    refresh: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Registration(ClientFields, frozen=True, kw_only=True):
    """A new player who signs in by e-mail address."""

    email: Email
    password: Password
    display_name: DisplayName | None = None


class ProfileChanges(Input, frozen=True, kw_only=True):
    """The fields to change; the others stay."""

    display_name: DisplayName | UnsetType = UNSET
    avatar: Avatar | UnsetType = UNSET
    locale: Locale | UnsetType = UNSET
    country: Country | UnsetType = UNSET
    timezone: TimeZone | UnsetType = UNSET
    marketing_consent: bool | UnsetType = UNSET
    analytics_consent: bool | UnsetType = UNSET


class PlayerFlags(Input, frozen=True, kw_only=True):
    """What a server key may change of a player."""

    is_tester: bool


class DeviceLink(Input, frozen=True, kw_only=True, tag_field="method", tag="device"):
    """Another device of this player."""

    device_id: DeviceId
    device_secret: DeviceSecret


class EmailLink(Input, frozen=True, kw_only=True, tag_field="method", tag="email"):
    """An e-mail address and password for this player."""

    email: Email
    password: Password


class TokenLink(Input, frozen=True, kw_only=True):
    token: Token


class GoogleLink(TokenLink, frozen=True, kw_only=True, tag_field="method", tag="google"):
    """A Google account."""


class AppleLink(TokenLink, frozen=True, kw_only=True, tag_field="method", tag="apple"):
    """An Apple account."""


class FacebookLink(TokenLink, frozen=True, kw_only=True, tag_field="method", tag="facebook"):
    """A Facebook account."""


class SteamLink(TokenLink, frozen=True, kw_only=True, tag_field="method", tag="steam"):
    """A Steam account."""


class CustomLink(TokenLink, frozen=True, kw_only=True, tag_field="method", tag="custom"):
    """An account of the studio's own."""


Link: Any = DeviceLink | EmailLink | GoogleLink | AppleLink | FacebookLink | SteamLink | CustomLink


class NewSanction(Input, frozen=True, kw_only=True):
    """A sanction. A suspension needs `ends_at`; a ban without it is for good."""

    kind: Literal["warning", "suspension", "ban", "shadow_ban"]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    ends_at: Timestamp | None = None


class PlayerSearch(PageQuery, kw_only=True):
    """`?display_name=` is a name, its beginning, or `name#1234`."""

    display_name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class SessionAnswer(Output, kw_only=True):
    """Signed in. `access` goes into `Authorization: Bearer`, for `expires_in` seconds."""

    access: str
    refresh: str
    expires_in: int
    session: UUID
    created: bool
    player: PlayerProfile

    @classmethod
    def of(cls, opened: Opened, expires_in: int) -> "SessionAnswer":
        return cls(
            access=opened.access,
            refresh=opened.refresh,
            expires_in=expires_in,
            session=opened.session_id,
            created=opened.created,
            player=opened.player,
        )


class SessionOut(Output, kw_only=True):
    """One signed-in device. `place` is the network it signed in from, not an exact address."""

    id: UUID
    current: bool
    method: str
    device: str
    place: str
    platform: str
    app_version: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, session: Session, current: UUID | None) -> "SessionOut":
        return cls(
            id=session.pk,
            current=session.pk == current,
            method=session.method,
            device=session.device,
            place=session.place,
            platform=session.platform,
            app_version=session.app_version,
            created_at=utc(session.created_at),
            last_used_at=utc(session.last_used_at),
            expires_at=utc(session.expires_at),
        )


class OwnPlayer(PlayerProfile, kw_only=True):
    """The own profile."""

    marketing_consent: bool
    analytics_consent: bool

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "OwnPlayer":
        """From `selectors.own_player`."""
        profile = PlayerProfile.of(row)
        return cls(
            **msgspec.structs.asdict(profile), marketing_consent=row[10], analytics_consent=row[11]
        )


class IdentityOut(Output, kw_only=True):
    """A way to sign in. `subject` is the device id or the e-mail address."""

    id: UUID
    method: str
    subject: str
    verified: bool
    created_at: datetime

    @classmethod
    def of(cls, identity: Identity) -> "IdentityOut":
        return cls(
            id=identity.pk,
            method=identity.method,
            subject=identity.subject,
            verified=identity.verified_at is not None,
            created_at=utc(identity.created_at),
        )


class SanctionOut(Output, kw_only=True):
    """A sanction. It is in force until `ends_at` (null: for good), unless lifted."""

    id: UUID
    kind: str
    reason: str
    author: str
    created_at: datetime
    ends_at: datetime | None
    lifted_at: datetime | None

    @classmethod
    def of(cls, sanction: Sanction) -> "SanctionOut":
        return cls(
            id=sanction.pk,
            kind=sanction.kind,
            reason=sanction.reason,
            author=sanction.author,
            created_at=utc(sanction.created_at),
            ends_at=utc(sanction.ends_at) if sanction.ends_at else None,
            lifted_at=utc(sanction.lifted_at) if sanction.lifted_at else None,
        )


class PlayerDetail(PlayerProfile, kw_only=True):
    """A player as the game's own servers see it."""

    marketing_consent: bool
    analytics_consent: bool
    last_seen_at: datetime
    blocked_until: datetime | None
    identities: list[IdentityOut]
    sanctions: list[SanctionOut]

    @classmethod
    def of_all(
        cls, player: Player, identities: Sequence[Identity], sanctions: Sequence[Sanction]
    ) -> "PlayerDetail":
        return cls(
            **msgspec.structs.asdict(PlayerProfile.of_player(player)),
            marketing_consent=player.marketing_consent,
            analytics_consent=player.analytics_consent,
            last_seen_at=utc(player.last_seen_at),
            blocked_until=utc(player.blocked_until) if player.blocked_until else None,
            identities=[IdentityOut.of(identity) for identity in identities],
            sanctions=[SanctionOut.of(sanction) for sanction in sanctions],
        )


class Jwk(Output, kw_only=True):
    """An Ed25519 public key (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class JwkSet(Output, kw_only=True):
    """The keys that access tokens are verified with (RFC 7517)."""

    keys: list[Jwk]
