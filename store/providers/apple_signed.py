"""What Apple signed: checked with Apple's own library, whose errors become ours.

Every check here is without the network, and judges the certificates at the time of signing: that
is what a request has time for, and all that a stored text can pass once its certificates have
expired. `Seals.hold_now` asks Apple's OCSP servers too; only workers call that.

Apple's `XCODE` and `LOCAL_TESTING` environments check no signature. They cannot be asked for here:
a verifier is made for an `Environment` of ours, which has neither.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, NoReturn, TypeVar

from appstoreserverlibrary.models.Environment import Environment as AppleEnvironment
from appstoreserverlibrary.models.JWSRenewalInfoDecodedPayload import JWSRenewalInfoDecodedPayload
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload
from appstoreserverlibrary.models.ResponseBodyV2DecodedPayload import ResponseBodyV2DecodedPayload
from appstoreserverlibrary.signed_data_verifier import (
    SignedDataVerifier,
    VerificationException,
    VerificationStatus,
)
from django.conf import settings

from store.providers.apple_receipts import claims
from store.providers.apple_roots import roots
from store.providers.base import App, Environment, MisconfiguredError, RejectedError

T = TypeVar("T")

ENVIRONMENTS = {
    Environment.PRODUCTION: AppleEnvironment.PRODUCTION,
    Environment.SANDBOX: AppleEnvironment.SANDBOX,
}
_BY_NAME = {theirs.value: ours for ours, theirs in ENVIRONMENTS.items()}
REASONS = {
    VerificationStatus.INVALID_APP_IDENTIFIER: ("wrong_app", "It was signed for another app"),
    VerificationStatus.INVALID_ENVIRONMENT: ("wrong_environment", "It is of another environment"),
}
# Of what a notification may have one: each names the app.
PARTS = ("data", "summary", "externalPurchaseToken", "appData")
# The library waits 30 seconds for OCSP, twice: when it does not answer, no one waits for a while.
OCSP_PAUSE = 60.0


def environment_of(said: Mapping[str, Any]) -> Environment:
    """The environment that a signed text claims. Raises `RejectedError` for Xcode's and others."""
    environment = _BY_NAME.get(str(said.get("environment")))
    if environment is None:
        raise RejectedError("wrong_environment", "Neither production nor the sandbox")
    return environment


@dataclass(frozen=True, slots=True)
class Seal:
    """The verifiers of one app in one environment."""

    # Made with its bundle id; looks at signatures only.
    offline: SignedDataVerifier
    # Keeps what OCSP said for 15 minutes, so it lives as long as the process.
    online: SignedDataVerifier


class Seals:
    """One `Seal` for each app and environment, for the life of the process; for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._roots: tuple[tuple[str, ...], list[bytes]] | None = None
        self._made: dict[tuple[str, Environment, int], Seal] = {}
        self._ocsp_from = 0.0

    def transaction(
        self, app: App, environment: Environment, jws: str
    ) -> JWSTransactionDecodedPayload:
        """A signed transaction of this app. Raises `RejectedError`, `MisconfiguredError`."""
        seal = self._seal(app, environment)
        return _translated(lambda: seal.offline.verify_and_decode_signed_transaction(jws))

    def renewal(self, app: App, environment: Environment, jws: str) -> JWSRenewalInfoDecodedPayload:
        """A signed renewal info; nothing in it says which app it is of. Raises as above."""
        seal = self._seal(app, environment)
        return _translated(lambda: seal.offline.verify_and_decode_renewal_info(jws))

    def hold_now(self, app: App, environment: Environment, jws: str) -> bool:
        """Whether the certificates of a transaction that has passed are valid today and, as Apple's
        OCSP servers say, not revoked. False also where that could not be found out."""
        if monotonic() < self._ocsp_from:
            return False
        try:
            self._seal(app, environment).online.verify_and_decode_signed_transaction(jws)
        except VerificationException as error:
            if error.status == VerificationStatus.RETRYABLE_VERIFICATION_FAILURE:
                self._ocsp_from = monotonic() + OCSP_PAUSE
            return False
        return True

    def notification(self, signed: str) -> tuple[ResponseBodyV2DecodedPayload, Environment]:
        """A notification of any app, with its environment. Whether the app is ours is the caller's
        to say: the signature is Apple's. Raises `RejectedError`, `MisconfiguredError`."""
        said = claims(signed)
        parts = [said.get(part) for part in PARTS]
        about: Mapping[str, Any] = next((part for part in parts if isinstance(part, dict)), {})
        if external := about.get("externalPurchaseId"):
            # These name no environment but in their id, where the library finds it, too.
            is_sandbox = str(external).startswith("SANDBOX")
            environment = Environment.SANDBOX if is_sandbox else Environment.PRODUCTION
        else:
            environment = environment_of(about)
        bundle, number = about.get("bundleId"), about.get("appAppleId")
        if not isinstance(bundle, str) or not isinstance(number, int | None):
            raise RejectedError("malformed_notification", "The notification names no app")
        verifier = SignedDataVerifier(
            self._trusted(),
            enable_online_checks=False,
            environment=ENVIRONMENTS[environment],
            bundle_id=bundle,
            app_apple_id=number or 0,
        )
        return _translated(lambda: verifier.verify_and_decode_notification(signed)), environment

    def _seal(self, app: App, environment: Environment) -> Seal:
        number = apple_id_of(app)
        key = (app.app_id, environment, number)
        trusted = self._trusted()
        with self._lock:
            seal = self._made.get(key)
            if seal is None:
                offline, online = (
                    SignedDataVerifier(
                        trusted, is_online, ENVIRONMENTS[environment], app.app_id, number
                    )
                    for is_online in (False, True)
                )
                seal = self._made[key] = Seal(offline, online)
            return seal

    def _trusted(self) -> list[bytes]:
        """The roots, read once for each value of the setting."""
        paths = tuple(map(str, settings.APPLE_ROOT_CERTIFICATES))
        with self._lock:
            if self._roots is None or self._roots[0] != paths:
                self._roots = (paths, roots())
                self._made.clear()
            return self._roots[1]


def apple_id_of(app: App) -> int:
    """The app's number in the App Store. Raises `MisconfiguredError` without one."""
    number = app.options.get("app_apple_id")
    if isinstance(number, bool) or not str(number).isdecimal():
        raise MisconfiguredError("platform_misconfigured", "options.app_apple_id is not a number")
    return int(str(number))


def _translated(verify: Callable[[], T]) -> T:
    """What the library answers, or one of our errors: its own can't be pickled, and the ones of its
    decoder quote what they could not read."""
    try:
        return verify()
    except VerificationException as error:
        _refuse(error.status)
    # Signed, but of another kind: cattrs' ClassValidationError is a group.
    except (ValueError, TypeError, KeyError, AttributeError, ExceptionGroup):
        raise RejectedError("malformed_receipt", "It is signed, and is something else") from None


def _refuse(status: VerificationStatus) -> NoReturn:
    code, detail = REASONS.get(status, ("bad_signature", "Apple did not sign this"))
    raise RejectedError(code, detail) from None
