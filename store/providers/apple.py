"""The App Store: receipts, refunds, subscriptions and notifications of one of Apple's apps.

A client's signed transaction is Apple's word, as of when it was signed. It is taken for the whole
truth while it is fresh and its certificates hold today; otherwise, and where there is only an id,
the App Store Server API says what is so now. See docs/adr/0065-apples-word.md.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from appstoreserverlibrary.api_client import GetTransactionHistoryVersion
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload
from appstoreserverlibrary.models.NotificationHistoryRequest import NotificationHistoryRequest
from appstoreserverlibrary.models.Status import Status
from appstoreserverlibrary.models.TransactionHistoryRequest import Order, TransactionHistoryRequest
from appstoreserverlibrary.models.Type import Type
from appstoreserverlibrary.receipt_utility import ReceiptUtility

from store.providers import apple_notices, apple_purchases, apple_receipts
from store.providers.apple_client import Clients, UnauthorizedError, UnknownTransactionError
from store.providers.apple_notices import NoticeData
from store.providers.apple_receipts import TRANSACTION_ID
from store.providers.apple_signed import Seals, apple_id_of, environment_of
from store.providers.base import (
    App,
    Environment,
    MisconfiguredError,
    Notice,
    ProviderError,
    Receipt,
    RejectedError,
    Subscription,
    TryAgainError,
    Verified,
)

log = structlog.get_logger(__name__)

# For so long a signed transaction counts without asking whether it was refunded meanwhile.
FRESH = timedelta(hours=1)
# A device's clock has no part in it; Apple's and ours may differ.
SKEW = timedelta(minutes=5)
# How far back Apple keeps notifications.
KEPT = {Environment.PRODUCTION: timedelta(days=180), Environment.SANDBOX: timedelta(days=30)}
# Inside what Apple keeps by the time that the request arrives there.
MARGIN = timedelta(minutes=10)


class AppleProvider:
    """See `store.providers.base.Provider`."""

    name = "apple"

    def __init__(self) -> None:
        self._seals = Seals()
        self._clients = Clients()

    def read_receipt(self, receipt: Any) -> Receipt:
        return apple_receipts.read(receipt)

    def verify(self, app: App, receipt: Receipt) -> list[Verified]:
        data = receipt.data
        if app_receipt := data.get("app_receipt"):
            return self._recent(app, app_receipt)
        number = data.get("transaction_id", "")
        if jws := data.get("jws"):
            environment = environment_of(apple_receipts.claims(jws))
            said = self._seals.transaction(app, environment, jws)
            line = apple_purchases.verified(app, environment, said)
            age = datetime.now(UTC) - line.signed_at
            if -SKEW <= age <= FRESH and self._seals.hold_now(app, environment, jws):
                return self._with_subscription(app, line, said)
            return self._ask_again(app, line)
        return self._ask_anywhere(app, number)

    def look_up(self, app: App, known: Verified) -> list[Verified]:
        return self._ask(app, known.environment, known.transaction_id)

    def tell(self, app: App, known: Verified, *, consume: bool) -> None:
        """Apple waits for nothing: the client finishes its transaction."""

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        try:
            return apple_notices.read(self._seals, body)
        except MisconfiguredError as error:
            # The notification may well be good: it shall come again.
            raise TryAgainError(error.code, error.detail, counts=False) from error

    def resolve(self, app: App, notice: Notice) -> list[Verified]:
        data = msgspec.convert(notice.data, NoticeData)
        if data.environment is Environment.PRODUCTION and data.app_apple_id != apple_id_of(app):
            # The bundle id is ours, and nobody else's: so the number in the options is wrong.
            raise MisconfiguredError("platform_misconfigured", "options.app_apple_id is another's")
        if not data.transaction:  # TEST, RENEWAL_EXTENSION's summary, consents, outside purchases
            return []
        said = self._seals.transaction(app, data.environment, data.transaction)
        state = None
        if said.type is Type.AUTO_RENEWABLE_SUBSCRIPTION:
            state = self._subscription(app, data.environment, said, data.renewal, data.status)
        return [apple_purchases.verified(app, data.environment, said, state)]

    def missed(self, app: App, since: datetime, until: datetime) -> Iterator[Verified | Notice]:
        refused: UnauthorizedError | None = None
        try:
            yield from self._history(app, Environment.PRODUCTION, since, until)
        except UnauthorizedError as error:  # or not released yet: see _ask_anywhere
            refused = error
        try:
            yield from self._history(app, Environment.SANDBOX, since, until)
        except ProviderError as error:
            # Nobody's money: it shall not keep production's history from being done with.
            log.warning("apple.no_sandbox_history", app_id=app.app_id, code=error.code)
            if refused:
                raise refused from None

    # --- asking the App Store ----------------------------------------------------------------

    def _ask(self, app: App, environment: Environment, number: str) -> list[Verified]:
        answer = self._clients.get(app, environment).get_transaction_info(number)
        said = self._said(app, environment, answer.signedTransactionInfo)
        if said.transactionId != number:
            raise TryAgainError("platform_bad_answer", "Another transaction", counts=False)
        return self._with_subscription(app, apple_purchases.verified(app, environment, said), said)

    def _ask_again(self, app: App, signed: Verified) -> list[Verified]:
        """What is so now of a transaction that Apple signed. That it does not know its own yet
        happens just after a purchase."""
        try:
            return self._ask(app, signed.environment, signed.transaction_id)
        except UnknownTransactionError as error:
            raise TryAgainError("platform_unavailable", error.detail, counts=False) from None

    def _ask_anywhere(self, app: App, number: str) -> list[Verified]:
        """An id alone does not tell its environment: production, then the sandbox.

        Until an app is first released, production refuses its key, and App Review and TestFlight
        buy in the sandbox. So a refused key is one only where the sandbox does not know better.
        """
        try:
            return self._ask(app, Environment.PRODUCTION, number)
        except UnknownTransactionError:
            return self._ask(app, Environment.SANDBOX, number)
        except UnauthorizedError:
            try:
                return self._ask(app, Environment.SANDBOX, number)
            except (UnknownTransactionError, UnauthorizedError):
                pass
            raise

    def _recent(self, app: App, app_receipt: str) -> list[Verified]:
        """An app receipt names some transaction of the customer's, not the one it was sent for:
        the customer's latest are all verified."""
        try:
            number = ReceiptUtility().extract_transaction_id_from_app_receipt(app_receipt)
        except ValueError:
            raise RejectedError("malformed_receipt", "That is no app receipt") from None
        if not isinstance(number, str) or not TRANSACTION_ID.fullmatch(number):
            raise RejectedError("empty_receipt", "There is no purchase in the app receipt")
        newest = TransactionHistoryRequest(sort=Order.DESCENDING)
        for environment in Environment:
            try:
                answer = self._clients.get(app, environment).get_transaction_history(
                    number, None, newest, GetTransactionHistoryVersion.V2
                )
            except UnknownTransactionError:
                continue
            said = [self._said(app, environment, jws) for jws in answer.signedTransactions or []]
            return self._each(app, environment, said)
        raise UnknownTransactionError("unknown_transaction", "The App Store does not know it")

    def _each(
        self, app: App, environment: Environment, said: list[JWSTransactionDecodedPayload]
    ) -> list[Verified]:
        """All of a customer's transactions that may be had, newest first: of a subscription, the
        newest. One that may not be had does not keep the others from their owner."""
        found: list[Verified] = []
        series: set[str | None] = set()
        for one in said:
            try:
                line = apple_purchases.verified(app, environment, one)
            except RejectedError as error:
                log.info("apple.left_out", code=error.code)
                continue
            if one.type is Type.AUTO_RENEWABLE_SUBSCRIPTION:
                if line.original_id in series:
                    continue
                series.add(line.original_id)
            found += self._with_subscription(app, line, one)
        return found

    def _with_subscription(
        self, app: App, line: Verified, said: JWSTransactionDecodedPayload
    ) -> list[Verified]:
        """A subscription's transaction comes with the subscription's latest, and its state."""
        if said.type is not Type.AUTO_RENEWABLE_SUBSCRIPTION:
            return [line]
        environment = line.environment
        client = self._clients.get(app, environment)
        try:
            answer = client.get_all_subscription_statuses(line.transaction_id)
        except UnknownTransactionError as error:
            raise TryAgainError("platform_unavailable", error.detail, counts=False) from None
        for group in answer.data or []:
            for item in group.lastTransactions or []:
                if item.originalTransactionId == line.original_id:
                    latest = self._said(app, environment, item.signedTransactionInfo)
                    state = self._subscription(
                        app, environment, latest, item.signedRenewalInfo or "", item.rawStatus
                    )
                    newest = apple_purchases.verified(app, environment, latest, state)
                    if newest.transaction_id == line.transaction_id:
                        return [newest]
                    return [line, newest]
        raise TryAgainError("platform_unavailable", "No status of the subscription", counts=False)

    def _subscription(
        self,
        app: App,
        environment: Environment,
        said: JWSTransactionDecodedPayload,
        signed_renewal: str,
        status: Any,
    ) -> Subscription:
        renewal = None
        if signed_renewal:
            renewal = self._seals.renewal(app, environment, signed_renewal)
            # Nothing in a renewal info names its app: it has to be this subscription's.
            if renewal.originalTransactionId != said.originalTransactionId:
                raise RejectedError("malformed_receipt", "The renewal is another subscription's")
        return apple_purchases.subscription(
            said, renewal, Status(status) if status in Status else None
        )

    def _said(
        self, app: App, environment: Environment, jws: str | None
    ) -> JWSTransactionDecodedPayload:
        """A transaction that the App Store itself gave us: a bad one is no fault of the client's,
        and the client's purchase is not rejected for it."""
        try:
            return self._seals.transaction(app, environment, jws or "")
        except RejectedError as error:
            detail = f"A transaction that is not right: {error.code}"
            raise TryAgainError("platform_bad_answer", detail) from None

    def _history(
        self, app: App, environment: Environment, since: datetime, until: datetime
    ) -> Iterator[Notice]:
        """All notifications of that time, whether Apple could deliver them or not."""
        since = max(since, datetime.now(UTC) - KEPT[environment] + MARGIN)
        if since >= until:
            return
        client = self._clients.get(app, environment)
        asked = NotificationHistoryRequest(
            startDate=int(since.timestamp() * 1000), endDate=int(until.timestamp() * 1000)
        )
        page = None
        while True:
            answer = client.get_notification_history(page, asked)
            for item in answer.notificationHistory or []:
                try:
                    yield apple_notices.notice(self._seals, item.signedPayload or "")
                except RejectedError as error:
                    # One that nobody can read does not hide the others.
                    log.warning("apple.unreadable_notification", code=error.code)
            if not answer.hasMore or not answer.paginationToken or answer.paginationToken == page:
                return
            page = answer.paginationToken
