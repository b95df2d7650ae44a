"""Google Play. docs/play-console.md sets it up; docs/adr/0067 and 0068 say what is peculiar.

An app's `app_id` is its package name, its secret a service account's JSON key. Its options:

    notification_audience   the audience that the push subscription's tokens are made for
    notification_email      the service account that Pub/Sub pushes as
    license_key             the app's licensing key (base64), if forged receipts are to be refused
                            without asking Google
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Any

from django.utils.module_loading import import_string

from store.providers import google_lookups, google_notices, google_receipts
from store.providers.base import (
    WHOLE,
    App,
    Kind,
    Notice,
    Receipt,
    State,
    TryAgainError,
    Verified,
)
from store.providers.google_client import TIMEOUT, Connection, RefusedError


class GoogleProvider:
    """`Provider` for Google Play.

    find_app   the active app of a package name, or None: a notification's body alone says for
               which app it is, and so who may have sent it
    timeout    seconds to connect, and to wait for each part of an answer
    """

    name = "google"

    def __init__(
        self,
        find_app: google_notices.FindApp | None = None,
        timeout: tuple[float, float] = TIMEOUT,
    ) -> None:
        self._find_app = find_app or _installed_app
        self._timeout = timeout
        self._keys = google_notices.Keys()
        self._connections: dict[str, tuple[str, Connection]] = {}
        self._lock = Lock()

    # Receipts

    def read_receipt(self, receipt: Any) -> Receipt:
        """See `google_receipts.read`."""
        return google_receipts.read(receipt)

    def verify(self, app: App, receipt: Receipt) -> list[Verified]:
        """Ask Google about the purchase token, and about nothing else that the client said."""
        is_fresh = google_receipts.check(app, receipt.data)
        try:
            return google_lookups.purchase(
                self._connection(app),
                receipt.data["token"],
                subscription_first=receipt.data["subscription"],
            )
        except RefusedError as refusal:
            if is_fresh and refusal.status != 410:
                # Google signed it a moment ago, and all of Google does not know yet.
                raise TryAgainError("not_visible_yet", refusal.detail, counts=False) from refusal
            raise

    def look_up(self, app: App, known: Verified) -> list[Verified]:
        """What Google says now. Of a subscription that is its latest order, and the known one."""
        connection = self._connection(app)
        if known.kind is Kind.SUBSCRIPTION:
            lines = google_lookups.subscription_and(connection, known)
        else:
            lines = google_lookups.products(connection, known.token)
        # Google never undoes a refund; an answer that does not show it yet must not.
        return [
            replace(line, revoked=max(line.revoked, known.revoked))
            if (line.transaction_id, line.line) == (known.transaction_id, known.line)
            else line
            for line in lines
        ]

    def tell(self, app: App, known: Verified, *, consume: bool) -> None:
        """Acknowledge it, or consume it, which acknowledges too. What is done already, or was
        refunded meanwhile, needs no telling."""
        connection = self._connection(app)
        try:
            google_lookups.tell(connection, known, consume=consume)
        except RefusedError:
            if not google_lookups.is_settled(connection, known, consume=consume):
                raise

    # Notifications

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        """See `google_notices.read`."""
        return google_notices.read(self._keys, self._find_app, headers, body)

    def resolve(self, app: App, notice: Notice) -> list[Verified]:
        """A notification is a hint that something changed: Google is asked what."""
        data = notice.data
        if data["about"] not in ("product", "subscription", "voided"):
            return []
        connection, token = self._connection(app), data["token"]
        if data["about"] == "product":
            return google_lookups.products(connection, token)
        if data["about"] == "subscription":
            return google_lookups.subscriptions(connection, token)
        found = google_lookups.voided(
            connection, token, data["order_id"], is_subscription=data["subscription"]
        )
        if data["is_listed"] and data["whole"]:
            # The list is Google's own word, also where its other answers lag behind.
            found = [_voided(line) for line in found]
        elif not _shows_refund(found, whole=data["whole"]):
            raise TryAgainError("not_visible_yet", "The refund", after=60, counts=False)
        return [_dated(line, notice.signed_at) for line in found]

    def missed(self, app: App, since: datetime, until: datetime) -> Iterator[Verified | Notice]:
        """Refunds that Google recorded in that time, of the last 30 days at most; each as a
        notification of ours, so that it is looked into once however often it is listed.

        They are listed by when Google recorded them, not by when they were made: the caller's
        windows must overlap. Google keeps no list of purchases, and sends notifications again
        for a week.
        """
        for entry in google_lookups.voided_list(self._connection(app), since, until):
            yield google_notices.listed(app, entry)

    def _connection(self, app: App) -> Connection:
        """The app's connection in this process; a new one when its secret has changed."""
        digest = hashlib.sha256(app.secret.encode()).hexdigest()
        with self._lock:
            known = self._connections.get(app.app_id)
            if known is None or known[0] != digest:
                known = (digest, Connection(app, self._timeout))
                self._connections[app.app_id] = known
            return known[1]


def _voided(line: Verified) -> Verified:
    """Taken back as a whole; of a subscription's payment, the part that was paid back if any."""
    if line.kind is Kind.SUBSCRIPTION and line.revoked:
        return line
    return replace(line, revoked=WHOLE, state=State.PURCHASED, must_tell=False)


def _shows_refund(found: list[Verified], *, whole: bool) -> bool:
    """Whether Google's answers show what its notification told of. A subscription's refund may be
    prorated, and still end all of it."""
    return any(
        line.revoked >= (WHOLE if whole and line.kind is not Kind.SUBSCRIPTION else 1)
        for line in found
    )


def _dated(line: Verified, at: datetime) -> Verified:
    """With the time of its refund, where Google's answer had none."""
    return replace(line, revoked_at=at) if line.revoked and line.revoked_at is None else line


def _installed_app(package: str) -> App | None:
    # By its name: providers import no models.
    platform = import_string("store.platforms.platform_by_app")("google", package)
    return platform.app() if platform else None
