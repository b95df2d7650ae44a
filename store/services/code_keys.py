"""The keys of games' promotion codes: random, and sealed with what is derived from `SECRET_KEY`.

A key never changes, because codes that were handed out years ago have to be found with it. When
`SECRET_KEY` changes, its fallbacks open what they sealed, and a job seals it anew.
"""

import base64
import secrets
from functools import cache
from hashlib import sha256
from uuid import UUID

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.db import transaction

from store.models import CodeKey


def key_of(game_id: UUID) -> bytes:
    """The game's key of 32 bytes; made when it is first asked for."""
    sealed = CodeKey.objects.filter(pk=game_id).values_list("sealed", flat=True).first()
    if sealed is None:
        fresh = CodeKey(game_id=game_id, sealed=_seal().encrypt(secrets.token_bytes(32)).decode())
        # Whoever comes second takes the first one's.
        CodeKey.objects.bulk_create([fresh], ignore_conflicts=True)
        sealed = CodeKey.objects.values_list("sealed", flat=True).get(pk=game_id)
    return _seal().decrypt(sealed.encode())


def seal_again() -> int:
    """Seal all keys with the present `SECRET_KEY`, so that fallbacks can be dropped; how many."""
    if not settings.SECRET_KEY_FALLBACKS:
        return 0
    seal = _seal()
    with transaction.atomic():
        rows = list(CodeKey.objects.select_for_update().order_by("pk"))
        for row in rows:
            row.sealed = seal.rotate(row.sealed.encode()).decode()
            row.save(update_fields=["sealed"])
    return len(rows)


def _seal() -> MultiFernet:
    return MultiFernet(
        [_fernet(secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    )


@cache
def _fernet(secret: str) -> Fernet:
    digest = sha256(b"evenkeel promotion codes 1" + secret.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))
