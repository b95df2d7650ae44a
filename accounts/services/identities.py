"""Linking and unlinking ways to sign in."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts import names, passwords
from accounts.errors import IdentityTaken, LastIdentity, TooManyIdentities
from accounts.models import Identity, Player
from accounts.services.opening import hash_device_secret
from config.api.problems import NotFound

MAX_IDENTITIES = 20


def link_device(
    *, game_id: UUID, player_id: UUID, device_id: str, device_secret: str
) -> tuple[Identity, bool]:
    """The player's identity with this device, and whether it is new.

    Linking it again with another secret replaces the secret. Raises `IdentityTaken`,
    `TooManyIdentities`.
    """
    secret = hash_device_secret(device_secret)
    return _link(game_id, player_id, Identity.Method.DEVICE, device_id, secret)


def link_email(
    *, game_id: UUID, player_id: UUID, email: str, password: str
) -> tuple[Identity, bool]:
    """The player's e-mail identity, and whether it is new; the player is no guest any more.

    Raises `IdentityTaken`, `TooManyIdentities` (one address a player), `ValidationFailed`,
    `SignInBusy`.
    """
    subject = names.email_key(email)
    passwords.validate_new_password(password, email=subject)
    # Before the look-up, so that a taken address takes as long as a free one.
    secret = passwords.hash_password(password)
    return _link(game_id, player_id, Identity.Method.EMAIL, subject, secret)


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
        _note_guest(player)
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
        _note_guest(player)


def _locked(game_id: UUID, player_id: UUID) -> Player:
    player = (
        Player.objects.select_for_update(no_key=True).filter(game_id=game_id, id=player_id).first()
    )
    if player is None:
        raise NotFound("There is no such player")
    return player


def _note_guest(player: Player) -> None:
    """A guest is a player whom nothing but devices can bring back."""
    is_guest = not player.identities.exclude(method=Identity.Method.DEVICE).exists()
    if player.is_guest != is_guest:
        player.is_guest = is_guest
        player.version += 1
        player.save(update_fields=["is_guest", "version"])
