"""What a friend code looks like, and whose it is.

Eight letters and digits without vowels, so that no words come out, and without those that look
alike (0, 1, I, L, O). 38 bits: enough for wrong ones to be rare to hit while the gate counts them;
all that a code gives is that its owner can be asked.
"""

import re
import secrets
import unicodedata
from uuid import UUID

from accounts.errors import FriendCodeUnknown
from accounts.models import FriendCode

ALPHABET = "23456789BCDFGHJKMNPQRSTVWXYZ"
LENGTH = 8
_TYPED = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")
_LEFT_OUT = str.maketrans({" ": None, "-": None})


def new_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shown(code: str) -> str:
    """A code as players see it: `K7QM-2XWD`."""
    return f"{code[:4]}-{code[4:]}"


def owner(*, game_id: UUID, typed: str) -> UUID:
    """Whose code it is, typed in any case, with spaces or dashes. Raises `FriendCodeUnknown`."""
    text = unicodedata.normalize("NFKC", typed).upper().translate(_LEFT_OUT)
    if _TYPED.fullmatch(text):
        found = FriendCode.objects.filter(game_id=game_id, code=text).first()
        if found is not None:
            return found.player_id
    raise FriendCodeUnknown


def own_code(*, game_id: UUID, player_id: UUID) -> FriendCode:
    """The player's code, made when it is first asked for."""
    while True:
        found = FriendCode.objects.filter(player_id=player_id).first()
        if found is not None:
            return found
        # Nothing is written where the player's other device was first, or the code is taken.
        fresh = FriendCode(game_id=game_id, player_id=player_id, code=new_code())
        FriendCode.objects.bulk_create([fresh], ignore_conflicts=True)


def throw_away(*, player_id: UUID) -> None:
    """Nobody finds the player by this code any more. The next one is another."""
    FriendCode.objects.filter(player_id=player_id).delete()
