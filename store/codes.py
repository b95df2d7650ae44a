"""What a promotion code looks like, and how it is made and looked up (docs/adr/0072).

A generated code has 16 characters of Crockford's base 32 (no I, L, O, U): 75 bits that are
computed from the game's key, the batch and the code's number, and a check character. Players may
type it in any case, with spaces and dashes, with O for 0 and I or L for 1. A word (`SPRING2026`)
has 4 to 15 letters and digits, so that the two can't be mixed up.
"""

import hmac
import re
import unicodedata
from hashlib import sha256
from uuid import UUID

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 16
_DATA = LENGTH - 1
_LIKE = str.maketrans({"O": "0", "I": "1", "L": "1", " ": None, "-": None})
_TYPED = re.compile(r"[0-9A-Z]{4,16}")
# Of GF(2^5): multiplying by x has the order 31, so that each of 15 places has a weight of its own.
_POLYNOMIAL = 0b100101


def folded(typed: str) -> str | None:
    """The one form of what was typed, by which it is looked up; None where it can't be a code."""
    text = unicodedata.normalize("NFKC", typed).upper().translate(_LIKE)
    if not _TYPED.fullmatch(text):
        return None
    if len(text) == LENGTH and not _is_checked(text):
        return None
    return text


def make(key: bytes, batch_id: UUID, number: int) -> str:
    """The batch's code of that number; always the same one."""
    mac = hmac.digest(key, b"make" + batch_id.bytes + number.to_bytes(4, "big"), sha256)
    bits = int.from_bytes(mac[:10], "big") >> (80 - 5 * _DATA)
    data = [(bits >> 5 * place) & 31 for place in reversed(range(_DATA))]
    return "".join(ALPHABET[value] for value in (*data, _check(data)))


def find_hash(key: bytes, code: str) -> bytes:
    """What a `folded` code is stored and found by."""
    return hmac.digest(key, b"find" + code.encode(), sha256)[:16]


def shown(code: str) -> str:
    """A generated code as it is printed: `ABCD-EFGH-JKMN-PQRS`."""
    return "-".join(code[start : start + 4] for start in range(0, LENGTH, 4))


def _check(data: list[int]) -> int:
    """The check character's value: one wrong character, or two that changed places, change it."""
    total = 0
    for value in data:
        total = (total ^ value) << 1
        if total & 32:
            total ^= _POLYNOMIAL
    return total


def _is_checked(code: str) -> bool:
    if any(character not in ALPHABET for character in code):
        return False
    values = [ALPHABET.index(character) for character in code]
    return _check(values[:-1]) == values[-1]
