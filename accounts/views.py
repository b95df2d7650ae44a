"""Endpoints of accounts."""

import hashlib
import ipaddress
from functools import lru_cache
from typing import Any, cast
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpResponse

from accounts import errors, names, selectors, tokens
from accounts.authentication import limited_address
from accounts.models import Identity, Player
from accounts.selectors import PlayerProfile, PublicPlayer
from accounts.serializers import (
    ClientFields,
    DeviceLink,
    DeviceSignIn,
    EmailLink,
    EmailSignIn,
    IdentityOut,
    JwkSet,
    Link,
    NewSanction,
    OwnPlayer,
    PlayerDetail,
    PlayerFlags,
    PlayerSearch,
    ProfileChanges,
    Refresh,
    Registration,
    SanctionOut,
    SessionAnswer,
    SessionOut,
    SignIn,
)
from accounts.services import identities, players, sanctions, sessions, sign_in
from accounts.services.opening import Client, Opened
from config.api import gate
from config.api.callers import ApiRequest, Caller
from config.api.pagination import Page, PageQuery, keyset_page
from config.api.parsing import invalid
from config.api.preconditions import etag, is_not_modified, require_precondition
from config.api.problems import (
    PreconditionRequired,
    RateLimited,
    VersionConflict,
)
from config.api.views import ApiViewSet, answer, endpoint

TIME_ZONES = frozenset(available_timezones())
EXAMPLE_DEVICE = {
    "method": "device",
    "device_id": "2f1c7a90-6a7f-4f0e-9a4b-1c2d3e4f5a6b",
    "device_secret": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA",
    "create": True,
    "platform": "android",
    "app_version": "1.4.0",
}


def client_of(request: ApiRequest, body: ClientFields) -> Client:
    """What the client says about itself, checked."""
    return Client(
        device=body.device.strip(),
        place=place_of(request.client_ip),
        platform=body.platform.strip().lower(),
        app_version=body.app_version.strip(),
        locale=body.locale,
        country=body.country,
        timezone=checked_timezone(body.timezone),
    )


@lru_cache(4096)
def place_of(address: str) -> str:
    """The network of an address (IPv4 /24, IPv6 /48): enough to recognise, too little to find."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    prefix = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


def checked_timezone(name: str) -> str:
    if name not in TIME_ZONES:
        raise invalid("/timezone", "This is no IANA time zone")
    return name


def checked_email(address: str) -> str:
    try:
        validate_email(address.strip())
    except ValidationError:
        raise invalid("/email", "This is no e-mail address") from None
    return address


def identity_limit(caller: Caller, body: Any) -> tuple[str, str] | None:
    """The limit on sign-ins to one identity, and its name: Redis sees a hash."""
    match body:
        case DeviceSignIn():
            method, subject = Identity.Method.DEVICE, body.device_id
        case EmailSignIn():
            method, subject = Identity.Method.EMAIL, names.email_key(body.email)
        case _:
            return None
    return "sign_in_identity", hashed_identity(caller.game_id, method.value, subject)


def hashed_identity(game_id: UUID, method: str, subject: str) -> str:
    return hashlib.sha256(f"{game_id}:{method}:{subject}".encode()).hexdigest()[:32]


class SessionViewSet(ApiViewSet):
    """Signing in and out."""

    @endpoint(
        callers=("game",),
        answers={201: SessionAnswer},
        body=SignIn,
        limits=("sign_in",),
        limit_of=identity_limit,
        problems=(
            errors.InvalidCredentials,
            errors.PlayerBanned,
            errors.MethodNotAvailable,
            errors.SignInBusy,
        ),
        example=EXAMPLE_DEVICE,
    )
    def create(self, request: ApiRequest, body: Any) -> HttpResponse:
        """Sign in.

        `device` signs in the guest of a device, and makes one with `"create": true`; `email` signs
        in a registered player. `google`, `apple`, `facebook`, `steam` and `custom` are part of the
        contract, and answer `method_not_available` until the deployment offers them.
        """
        client = client_of(request, body)
        game_id = request.caller.game_id
        if isinstance(body, DeviceSignIn):
            opened = sign_in.with_device(
                game_id=game_id,
                device_id=body.device_id,
                device_secret=body.device_secret,
                create=body.create,
                client=client,
            )
        elif isinstance(body, EmailSignIn):
            opened = sign_in.with_email(
                game_id=game_id, email=body.email, password=body.password, client=client
            )
        else:
            raise errors.MethodNotAvailable
        return session_answer(opened)

    @endpoint(
        callers=("game",),
        answers={201: SessionAnswer},
        body=Refresh,
        problems=(errors.RefreshInvalid, errors.RefreshReused),
        example={"refresh": "rt_AZLb…"},
    )
    def refresh(self, request: ApiRequest, body: Refresh) -> HttpResponse:
        """Exchange a refresh token for a new pair.

        It is spent by this. If the answer is lost, the same token may be repeated for a short time
        (30 seconds by default). Using it later ends the session with `refresh_reused`, because
        someone else may have a copy.
        """
        return session_answer(sessions.refresh(game_id=request.caller.game_id, token=body.refresh))

    @endpoint(callers=("player",), answers={200: Page[SessionOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List where this player is signed in, the newest first."""
        rows, after, before = keyset_page(
            selectors.live_sessions(request.caller.player),
            order=("-id",),
            kinds=(UUID,),
            query=query,
        )
        current = request.caller.session_id
        results = [SessionOut.of(row, current) for row in rows]
        return answer(Page(results=results, next=after, previous=before))

    @endpoint(callers=("player",), answers={204: None})
    def destroy(self, request: ApiRequest, session: UUID) -> HttpResponse:
        """Sign out one session, at once."""
        sessions.revoke(player_id=request.caller.player, session_id=session)
        return answer()

    @endpoint(callers=("player",), answers={204: None})
    def destroy_current(self, request: ApiRequest) -> HttpResponse:
        """Sign out this session, at once."""
        # Every access token names its session.
        session_id = cast(UUID, request.caller.session_id)
        sessions.revoke(player_id=request.caller.player, session_id=session_id)
        return answer()

    @endpoint(callers=("player",), answers={204: None})
    def destroy_all(self, request: ApiRequest) -> HttpResponse:
        """Sign out everywhere, at once."""
        sessions.revoke_all(player_id=request.caller.player, reason="signed_out")
        return answer()


def session_answer(opened: Opened) -> HttpResponse:
    return answer(SessionAnswer.of(opened, settings.ACCESS_TOKEN_SECONDS), status=201)


class PlayerViewSet(ApiViewSet):
    """Players and their profiles."""

    @endpoint(
        callers=("game",),
        answers={201: SessionAnswer},
        body=Registration,
        limits=("register",),
        problems=(errors.IdentityTaken, errors.NameExhausted, errors.SignInBusy),
        example={
            "email": "robin@example.com",
            "password": "a quiet lake at dawn",
            "display_name": "Robin",
        },
    )
    def create(self, request: ApiRequest, body: Registration) -> HttpResponse:
        """Register with e-mail address and password, and sign in."""
        opened = sign_in.register(
            game_id=request.caller.game_id,
            email=checked_email(body.email),
            password=body.password,
            display_name=body.display_name,
            client=client_of(request, body),
        )
        return session_answer(opened)

    @endpoint(callers=("player",), answers={200: Page[PublicPlayer]}, query=PlayerSearch)
    def list(self, request: ApiRequest, query: PlayerSearch) -> HttpResponse:
        """Search players by display name: its beginning, or name#1234 for one."""
        rows, after, before = keyset_page(
            selectors.players_named(
                game_id=request.caller.game_id, display_name=query.display_name
            ),
            order=("name_key", "tag"),
            kinds=(str, int),
            query=query,
        )
        results = [PublicPlayer.of_player(row) for row in rows]
        return answer(Page(results=results, next=after, previous=before))

    @endpoint(
        callers=("player", "server"),
        answers={200: PublicPlayer | PlayerDetail},
        scope="players:read",
        problems=(errors.PlayerMerged,),
    )
    def retrieve(self, request: ApiRequest, player: UUID) -> HttpResponse:
        """Read a player: others see the public profile, server keys everything.

        A server key also gets the sign-in methods and the latest 50 sanctions.
        """
        game_id = request.caller.game_id
        if request.caller.kind == "player":
            return answer(selectors.public_player(game_id=game_id, player_id=player))
        return answer(player_detail(selectors.player_get(game_id=game_id, player_id=player)))

    @endpoint(
        callers=("server",),
        answers={200: PlayerDetail},
        body=PlayerFlags,
        scope="players:write",
        problems=(errors.PlayerMerged,),
        example={"is_tester": True},
    )
    def partial_update(self, request: ApiRequest, player: UUID, body: PlayerFlags) -> HttpResponse:
        """Mark a player as a tester, or not.

        Testers are never on leaderboards or in charts. Access tokens carry the mark, so it is in
        force everywhere after the next refresh.
        """
        game_id = request.caller.game_id
        players.set_tester(game_id=game_id, player_id=player, is_tester=body.is_tester)
        return answer(player_detail(selectors.player_get(game_id=game_id, player_id=player)))


def player_detail(player: Player) -> PlayerDetail:
    return PlayerDetail.of_all(
        player,
        list(selectors.identities_of(player.pk)),
        selectors.sanctions_of(player.pk),
    )


class OwnPlayerViewSet(ApiViewSet):
    """The calling player's own profile."""

    @endpoint(
        callers=("player",),
        answers={200: OwnPlayer, 304: None},
        headers={"If-None-Match": "An ETag seen before: answered with 304 while it is current"},
    )
    def retrieve(self, request: ApiRequest) -> HttpResponse:
        """Read the own profile. Its `ETag` is for the next change."""
        row = selectors.own_player(game_id=request.caller.game_id, player_id=request.caller.player)
        tag = etag(row[12])
        if is_not_modified(request, tag):
            return HttpResponse(status=304, headers={"ETag": tag})
        return answer(OwnPlayer.of_row(row), headers={"ETag": tag})

    @endpoint(
        callers=("player",),
        answers={200: OwnPlayer},
        body=ProfileChanges,
        headers={"If-Match": "The ETag of the profile that was read, or *"},
        problems=(PreconditionRequired, VersionConflict, errors.NameExhausted),
        example={"display_name": "Quiet Otter", "country": "NZ", "timezone": "Pacific/Auckland"},
    )
    def partial_update(self, request: ApiRequest, body: ProfileChanges) -> HttpResponse:
        """Change the own profile.

        A display name has 1 to 30 visible characters, and is unique together with its four-digit
        tag; a new name may get a new tag. `412 version_conflict` means that the profile has
        changed since it was read.
        """
        expected = require_precondition(request)
        if expected.must_not_exist:
            raise VersionConflict("The profile exists")
        changes = {
            name: value
            for name, value in msgspec.structs.asdict(body).items()
            if value is not msgspec.UNSET
        }
        if "timezone" in changes:
            checked_timezone(changes["timezone"])
        player = players.update_profile(
            game_id=request.caller.game_id,
            player_id=request.caller.player,
            changes=changes,
            expected=expected,
        )
        profile = msgspec.structs.asdict(PlayerProfile.of_player(player))
        changed = OwnPlayer(
            **profile,
            marketing_consent=player.marketing_consent,
            analytics_consent=player.analytics_consent,
        )
        return answer(changed, headers={"ETag": etag(player.version)})


class IdentityViewSet(ApiViewSet):
    """The calling player's ways to sign in."""

    @endpoint(callers=("player",), answers={200: Page[IdentityOut]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List the own sign-in methods, the oldest first."""
        rows, after, before = keyset_page(
            selectors.identities_of(request.caller.player),
            order=("id",),
            kinds=(UUID,),
            query=query,
        )
        results = [IdentityOut.of(row) for row in rows]
        return answer(Page(results=results, next=after, previous=before))

    @endpoint(
        callers=("player",),
        answers={200: IdentityOut, 201: IdentityOut},
        body=Link,
        problems=(
            errors.IdentityTaken,
            errors.TooManyIdentities,
            errors.MethodNotAvailable,
            errors.SignInBusy,
            RateLimited,
        ),
        example={"method": "email", "email": "robin@example.com", "password": "dawn on the lake"},
    )
    def create(self, request: ApiRequest, body: Any) -> HttpResponse:
        """Link another device or an e-mail address. A guest with an address is a guest no more.

        Linking what is linked already answers 200. An e-mail address counts against the limits of
        registrations and sign-ins, so that this can't be used to find out who has an account. What
        another player signs in with is `identity_taken`; who knows its secret or password gets a
        `merge_token` with it, to merge that player into this one.
        """
        caller = request.caller
        if isinstance(body, DeviceLink):
            identity, is_new = identities.link_device(
                game_id=caller.game_id,
                player_id=caller.player,
                device_id=body.device_id,
                device_secret=body.device_secret,
            )
        elif isinstance(body, EmailLink):
            email = checked_email(body.email)
            gate.take("register", limited_address(request.client_ip))
            gate.take(
                "sign_in_identity",
                hashed_identity(caller.game_id, Identity.Method.EMAIL, names.email_key(email)),
            )
            identity, is_new = identities.link_email(
                game_id=caller.game_id,
                player_id=caller.player,
                email=email,
                password=body.password,
            )
        else:
            raise errors.MethodNotAvailable
        return answer(IdentityOut.of(identity), status=201 if is_new else 200)

    @endpoint(callers=("player",), answers={204: None}, problems=(errors.LastIdentity,))
    def destroy(self, request: ApiRequest, identity: UUID) -> HttpResponse:
        """Unlink a sign-in method. The last one stays."""
        identities.unlink(
            game_id=request.caller.game_id,
            player_id=request.caller.player,
            identity_id=identity,
        )
        return answer()


class SanctionViewSet(ApiViewSet):
    """Sanctions, by server keys. Staff impose them in the admin."""

    @endpoint(
        callers=("server",),
        answers={201: SanctionOut},
        body=NewSanction,
        scope="sanctions:write",
        idempotent="optional",
        problems=(errors.PlayerMerged,),
        example={"kind": "suspension", "reason": "Spam", "ends_at": "2030-01-01T00:00:00Z"},
    )
    def create(self, request: ApiRequest, player: UUID, body: NewSanction) -> HttpResponse:
        """Warn, suspend, ban or shadow-ban a player.

        A suspension or ban ends every session at once, and sign-in answers `player_banned` while
        it lasts.
        """
        sanction = sanctions.impose(
            game_id=request.caller.game_id,
            player_id=player,
            kind=body.kind,
            reason=body.reason,
            author=f"server key {request.caller.key_id}",
            ends_at=body.ends_at,
        )
        return answer(SanctionOut.of(sanction), status=201)

    @endpoint(
        callers=("server",),
        answers={200: SanctionOut},
        scope="sanctions:write",
        problems=(errors.PlayerMerged,),
    )
    def destroy(self, request: ApiRequest, player: UUID, sanction: UUID) -> HttpResponse:
        """Lift a sanction. It stays on record."""
        lifted = sanctions.lift(
            game_id=request.caller.game_id, player_id=player, sanction_id=sanction
        )
        return answer(SanctionOut.of(lifted))


class TokenKeyViewSet(ApiViewSet):
    """The public keys of access tokens."""

    @endpoint(callers=(), answers={200: JwkSet}, cache="public, max-age=300")
    def list(self, request: ApiRequest) -> HttpResponse:
        """Read the public keys that access tokens are verified with (RFC 7517).

        `iss` is `evenkeel`, `typ` is `at+jwt`, the algorithm is EdDSA. A new key appears here
        before it signs.
        """
        return answer(tokens.jwks())
