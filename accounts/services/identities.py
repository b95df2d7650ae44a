"""Linking and unlinking ways to sign in."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts import names, passwords
from accounts.errors import IdentityTaken, LastIdentity, TooManyIdentities
from accounts.models import Identity, Player
from accounts.services import merging
from accounts.services.opening import hash_device_secret
from config.api.problems import NotFound

MAX_IDENTITIES = 20


def link_device(
    *, game_id: UUID, player_id: UUID, device_id: str, device_secret: str
) -> tuple[Identity, bool]:
    """The player's identity with this device, and whether it is new.

    Linking it again with another secret replaces the secret. Raises `IdentityTaken` (with a token
    to merge, where the secret is that of the other player's device), `TooManyIdentities`.
    """
    secret = hash_device_secret(device_secret)
    method = Identity.Method.DEVICE
    taken = _others(game_id, player_id, method, device_id)
    if taken is not None:
        raise _taken(player_id, taken, knows_secret=constant_time_compare(secret, taken.secret))
    return _link(game_id, player_id, method, device_id, secret)


def link_email(
    *, game_id: UUID, player_id: UUID, email: str, password: str
) -> tuple[Identity, bool]:
    """The player's e-mail identity, and whether it is new; the player is no guest any more.

    Raises `IdentityTaken` (with a token to merge, where the password is the other player's),
    `TooManyIdentities` (one address a player), `ValidationFailed`, `SignInBusy`.
    """
    subject = names.email_key(email)
    method = Identity.Method.EMAIL
    passwords.validate_new_password(password, email=subject)
    taken = _others(game_id, player_id, method, subject)
    # One hash either way, so that a taken address takes as long as a free one.
    if taken is not None:
        is_right, _ = passwords.check_password(password, taken.secret)
        raise _taken(player_id, taken, knows_secret=is_right)
    return _link(game_id, player_id, method, subject, passwords.hash_password(password))


def _others(game_id: UUID, player_id: UUID, method: str, subject: str) -> Identity | None:
    """The identity, if it is another player's."""
    found = Identity.objects.filter(game_id=game_id, method=method, subject=subject)
    return found.exclude(player_id=player_id).first()


def _taken(player_id: UUID, identity: Identity, *, knows_secret: bool) -> IdentityTaken:
    if not knows_secret:
        return IdentityTaken()
    return IdentityTaken(
        "This identity belongs to another player, who can be merged into this one",
        merge_token=merging.make_token(survivor_id=player_id, identity=identity),
    )


def _link(
    game_id: UUID, player_id: UUID, method: str, subject: str, secret: str
) -> tuple[Identity, bool]:
    with transaction.atomic():
        player = _locked(game_id, player_id)
        own = list(Identity.objects.filter(player=player))
        for identity in own:
            if identity.method == method and identity.subject == subject:
                if method == Identity.Method.DEVICE and identity.secret != secret:
                    identity.secret = secret
                    identity.save(update_fields=["secret"])
                return identity, False
        if len(own) >= MAX_IDENTITIES:
            raise TooManyIdentities
        if method == Identity.Method.EMAIL and any(i.method == method for i in own):
            raise TooManyIdentities("A player has one e-mail address")
        made = Identity.objects.bulk_create(
            [
                Identity(
                    game_id=game_id,
                    player=player,
                    method=method,
                    subject=subject,
                    secret=secret,
                    created_at=timezone.now(),
                )
            ],
            ignore_conflicts=True,
        )[0]
        if not Identity.objects.filter(pk=made.pk).exists():
            raise IdentityTaken
        note_guest(player)
    return made, True


def unlink(*, game_id: UUID, player_id: UUID, identity_id: UUID) -> None:
    """Remove a way to sign in. Raises `NotFound`, `LastIdentity`."""
    with transaction.atomic():
        # The lock makes two requests that remove the last two take turns.
        player = _locked(game_id, player_id)
        own = {identity.pk: identity for identity in Identity.objects.filter(player=player)}
        if identity_id not in own:
            raise NotFound("There is no such sign-in method")
        if len(own) == 1:
            raise LastIdentity
        own[identity_id].delete()
        note_guest(player)


def _locked(game_id: UUID, player_id: UUID) -> Player:
    player = (
        Player.objects.select_for_update(no_key=True).filter(game_id=game_id, id=player_id).first()
    )
    if player is None:
        raise NotFound("There is no such player")
    return player


def note_guest(player: Player) -> None:
    """Note whether a locked player is a guest: one whom nothing but devices can bring back."""
    is_guest = not player.identities.exclude(method=Identity.Method.DEVICE).exists()
    if player.is_guest != is_guest:
        player.is_guest = is_guest
        player.version += 1
        player.save(update_fields=["is_guest", "version"])
