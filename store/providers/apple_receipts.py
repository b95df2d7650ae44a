"""What clients send as a receipt of Apple's, brought into one form without the network.

StoreKit 2 gives a signed transaction (a JWS): the best there is. Unity IAP's receipt has the old
app receipt, base64 of PKCS#7, and a transaction id; it is lenient about none of it, so this is.
Nothing here is believed: what is read names the receipt and finds it at the App Store, no more.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from store.providers.base import Receipt, RejectedError

# The library pastes ids into URLs as they are, and a client makes them up: nothing else gets by.
TRANSACTION_ID = re.compile(r"[1-9][0-9]{0,19}")
STORES = {"AppleAppStore", "MacAppStore"}
# A notification has two more of them inside.
MAX_JWS = 64 * 1024
JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
JWS_NAMES = ("jws", "jwsRepresentation", "signedTransactionInfo", "signedTransaction")
ID_NAMES = ("TransactionID", "transaction_id", "transactionId")


def read(receipt: Any) -> Receipt:
    """The receipt in one form: `data` has `jws`, `transaction_id`, or `app_receipt`, as known.

    Takes `{"jws"}`, `{"transaction_id"}`, Unity's `{"Store", "TransactionID", "Payload"}` with an
    optional `jws`, each also as the text of its JSON, and a JWS alone. Raises `RejectedError`.
    """
    fields = _fields(receipt)
    store = fields.get("Store")
    if store == "fake":
        raise RejectedError("fake_receipt", "Unity's fake store sells nothing")
    if store is not None and store not in STORES:
        raise RejectedError("malformed_receipt", "The receipt is another store's")
    payload = _parsed(fields.get("Payload"))
    inner = payload if isinstance(payload, Mapping) else {}
    jws = _jws([*(source.get(name) for source in (fields, inner) for name in JWS_NAMES), payload])
    number = _id([source.get(name) for source in (fields, inner) for name in ID_NAMES])
    if jws:
        said = claims(jws)
        # What is signed counts, not what stands beside it.
        number = _id([said.get("transactionId")])
        product = said.get("productId")
        return Receipt(
            identity=number or _digest(jws),
            data={"jws": jws} | ({"transaction_id": number} if number else {}),
            # For showing, and from nobody: a database takes no NUL.
            product=product[:255] if isinstance(product, str) and product.isprintable() else "",
        )
    if number:
        return Receipt(identity=number, data={"transaction_id": number})
    if isinstance(payload, str) and _is_app_receipt(payload):
        return Receipt(identity=_digest(payload), data={"app_receipt": payload})
    raise RejectedError("malformed_receipt", "There is no signed transaction and no transaction id")


def claims(jws: str) -> Mapping[str, Any]:
    """What a JWS says, whoever signed it. Raises `RejectedError` when it is none."""
    if len(jws) > MAX_JWS or not JWS.fullmatch(jws):
        raise RejectedError("malformed_receipt", "That is no JWS")
    part = jws.split(".")[1]
    try:
        said = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):  # binascii's and msgspec's errors are ValueErrors
        raise RejectedError("malformed_receipt", "The JWS has no JSON in it") from None
    if not isinstance(said, dict):
        raise RejectedError("malformed_receipt", "The JWS says something else than a transaction")
    return said


def _fields(receipt: Any) -> Mapping[str, Any]:
    parsed = _parsed(receipt)
    if isinstance(parsed, Mapping):
        return parsed
    if isinstance(parsed, str):
        return {"Payload": parsed}
    raise RejectedError("malformed_receipt", "A receipt is an object or a text")


def _parsed(value: Any) -> Any:
    """JSON in a text is what it says; any other text is itself."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(value)
        except (ValueError, RecursionError):
            raise RejectedError("malformed_receipt", "The receipt is no JSON") from None
    return value


def _jws(candidates: list[Any]) -> str:
    for value in candidates:
        # An app receipt is base64, and has no dots.
        if isinstance(value, str) and "." in value:
            return value
    return ""


def _id(candidates: list[Any]) -> str:
    """The first that is given; a number in place of a text is taken as meant."""
    for value in candidates:
        if value is None or value == "":
            continue
        is_short = isinstance(value, int) and 0 < value < 10**20
        text = value if isinstance(value, str) else str(value) if is_short else ""
        if not TRANSACTION_ID.fullmatch(text):
            raise RejectedError("malformed_receipt", "That is no transaction id of the App Store")
        return text
    return ""


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _is_app_receipt(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) > 0
    except (binascii.Error, ValueError):
        return False
