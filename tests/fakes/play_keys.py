"""What Google signs with, in tests: service accounts, Pub/Sub's tokens, receipts on devices."""

import base64
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

PACKAGE = "com.v7games.garden"
ACCOUNT_EMAIL = "evenkeel@garden.iam.gserviceaccount.com"
PUSH_EMAIL = "push@garden.iam.gserviceaccount.com"
AUDIENCE = "https://game.example/v1/store/notifications/google"
ACCOUNT_KEY, LICENSE_KEY, PUSH_KEY, OTHER_KEY = "account", "license", "push", "other"


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """A key of this name, made once in a test run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key_of(name: str) -> rsa.RSAPublicKey:
    return private_key(name).public_key()


def pem(name: str) -> str:
    encoded: bytes = private_key(name).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def service_account() -> dict[str, str]:
    """A service account's JSON key. Its addresses are nobody's: only our own settings count."""
    return {
        "type": "service_account",
        "project_id": "garden",
        "private_key_id": "0123456789abcdef",
        "private_key": pem(ACCOUNT_KEY),
        "client_email": ACCOUNT_EMAIL,
        "client_id": "1",
        "token_uri": "http://127.0.0.1:1/never",
    }


def license_key() -> str:
    """As the Play Console shows it."""
    der = public_key_of(LICENSE_KEY).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(der).decode()


def sign_receipt(text: str, key: str = LICENSE_KEY) -> str:
    """Google's signature of a purchase's JSON on the device: SHA1withRSA."""
    signature = private_key(key).sign(text.encode(), padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    return base64.b64encode(signature).decode()


class PushSigner:
    """Pub/Sub's side of a push subscription: bodies, and the tokens that they come with."""

    def __init__(self) -> None:
        self.kid, self.key = "key-1", PUSH_KEY

    def rotate(self) -> None:
        """Google signs with a new key from now on."""
        self.kid, self.key = "key-2", OTHER_KEY

    def jwks(self) -> dict[str, Any]:
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(public_key_of(self.key), as_dict=True)
        return {"keys": [jwk | {"kid": self.kid, "use": "sig", "alg": "RS256"}]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What Google's token says; `None` leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "azp": "1",
            "sub": "1",
            "email": PUSH_EMAIL,
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), private_key(self.key), "RS256", {"kid": self.kid})

    def headers(self, **changes: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(**changes)}"}

    def body(self, message_id: str = "136969346945", **content: Any) -> bytes:
        """A push of a developer notification with this content."""
        told = {
            "version": "1.0",
            "packageName": PACKAGE,
            "eventTimeMillis": str(int(time.time() * 1000)),
            **content,
        }
        data = base64.b64encode(json.dumps(told).encode()).decode()
        message = {"data": data, "messageId": message_id, "message_id": message_id}
        return json.dumps(
            {
                "message": message | {"publishTime": "2026-11-21T10:00:00.123Z"},
                "subscription": "projects/garden/subscriptions/play",
            }
        ).encode()

    def product(self, token: str, kind: int = 1) -> bytes:
        notice = {"version": "1.0", "notificationType": kind, "purchaseToken": token}
        return self.body(oneTimeProductNotification=notice | {"sku": "gems_small"})

    def subscription(self, token: str, kind: int = 4) -> bytes:
        notice = {"version": "1.0", "notificationType": kind, "purchaseToken": token}
        return self.body(subscriptionNotification=notice)

    def voided(
        self, token: str, order_id: str, *, is_subscription: bool = False, whole: bool = True
    ) -> bytes:
        return self.body(
            voidedPurchaseNotification={
                "purchaseToken": token,
                "orderId": order_id,
                "productType": 1 if is_subscription else 2,
                "refundType": 1 if whole else 2,
            }
        )
