"""Google Play's receipts, as clients send them: our own form, and Unity's, old and new.

From a receipt comes the purchase token, to ask Google with. Nothing else in it is believed: least
of all its purchase state, which anybody can write.
"""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from store.providers.base import App, MisconfiguredError, Receipt, RejectedError

# Google does not say what tokens are made of: what is seen has letters, digits, `.`, `_` and `-`.
# Longer ones than a segment of dots, so that none climbs in a path.
TOKEN = re.compile(r"[A-Za-z0-9._~:=+/-]{16,1500}")
ORDER_ID = re.compile(r"GPA\.[0-9.-]+|[0-9]+\.[0-9]+")
PRODUCT = re.compile(r"[A-Za-z0-9._]{1,200}")
MAX_SIGNED = 16_384
MAX_SIGNATURE = 2_048
FRESH = timedelta(hours=1)
FAKE = "ThisIsFakeReceiptData"


def read(receipt: Any) -> Receipt:
    """`{"token", "product"?}`; Unity's `{"Store", "TransactionID", "Payload"}`; a payload of its
    own, `{"json", "signature"?}`. Each part may be an object, or the JSON text of one.

    Raises `RejectedError`.
    """
    outer = _opened(receipt)
    if str(outer.get("Store", "")).lower() == "fake":
        raise RejectedError("fake_receipt")
    payload = _opened(outer["Payload"]) if "Payload" in outer else outer
    signed = payload.get("json")
    inner = payload if signed is None else _opened(signed)
    token = _text(inner, "purchaseToken", "token") or _transaction_id(outer)
    if not TOKEN.fullmatch(token):
        raise RejectedError("malformed_receipt", "There is no purchase token in it")
    product = _text(inner, "productId", "product")
    data = {
        "token": token,
        "package": _text(inner, "packageName"),
        # Only which of Google's answers is asked for first.
        "subscription": "autoRenewing" in inner,
    }
    signature = payload.get("signature")
    # The signature is over the exact text: of an object that is not known any more.
    if isinstance(signed, str) and isinstance(signature, str):
        if len(signed) > MAX_SIGNED or len(signature) > MAX_SIGNATURE:
            raise RejectedError("malformed_receipt", "It is too long")
        data |= {"json": signed, "signature": signature}
    return Receipt(token, data, product if PRODUCT.fullmatch(product) else "")


def check(app: App, data: Mapping[str, Any]) -> bool:
    """Whether Google signed the receipt within the last hour, so that it may not be everywhere yet.

    Raises `RejectedError` for another app's receipt and, where the app has a `license_key`, for a
    forged one: that spares asking Google. A receipt without a signature passes, as it does without
    the key: who decides is Google's answer. Raises `MisconfiguredError` for an unreadable key.
    """
    if data["package"] not in ("", app.app_id):
        raise RejectedError("wrong_app")
    key, signed = app.options.get("license_key"), data.get("json")
    if not key or signed is None:
        return False
    public_key = _public_key(key)
    try:
        # Google's choice of digest.
        public_key.verify(
            base64.b64decode(data["signature"], validate=True),
            signed.encode(),
            padding.PKCS1v15(),
            hashes.SHA1(),  # noqa: S303
        )
    except (InvalidSignature, ValueError) as error:
        raise RejectedError("bad_signature") from error
    made = _opened(signed).get("purchaseTime")
    if not isinstance(made, int):
        return False
    return abs(datetime.now(UTC).timestamp() - made / 1000) < FRESH.total_seconds()


def _public_key(text: Any) -> rsa.RSAPublicKey:
    try:
        key = load_der_public_key(base64.b64decode(str(text), validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MisconfiguredError("platform_misconfigured", "license_key is no key") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise MisconfiguredError("platform_misconfigured", "license_key is no RSA key")
    return key


def _opened(part: Any) -> dict[str, Any]:
    """An object, or the object whose JSON text this is."""
    if isinstance(part, str):
        if FAKE in part:
            raise RejectedError("fake_receipt")
        try:
            part = msgspec.json.decode(part)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise RejectedError("malformed_receipt", "It is no JSON") from error
    if not isinstance(part, dict):
        raise RejectedError("malformed_receipt", "It is no object")
    return part


def _text(part: Mapping[str, Any], *names: str) -> str:
    found = next((part[name] for name in names if part.get(name)), "")
    return found if isinstance(found, str) else ""


def _transaction_id(outer: Mapping[str, Any]) -> str:
    """Unity's id is the purchase token, but was the order id in older versions."""
    found = _text(outer, "TransactionID")
    return "" if ORDER_ID.fullmatch(found) else found
