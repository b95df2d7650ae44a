"""Workers as one writes them without thinking of their death, for controls. CARELESS says how.

doubles   books, and then notes on the purchase that it did: two transactions, and no booking knows
          an earlier one
loses     notes that it did what it is about to do: at most once
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import django
from django.db import transaction
from django.db.models import QuerySet

django.setup()

from config.db import sweeper  # noqa: E402
from store.models import Order, PlatformNotice, PlatformPurchase  # noqa: E402
from store.services import (  # noqa: E402
    contents,
    granting,
    ledger,
    notices,
    orders,
    reversals,
    telling,
)
from tests.chaos.worker import app  # noqa: E402

__all__ = ["app"]


class Apart:
    """`transaction`, and each statement in one of its own."""

    @staticmethod
    @contextmanager
    def atomic() -> Iterator[None]:
        yield


class KeylessLedger:
    """`ledger`, and no posting knows an earlier one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ledger, name)

    @staticmethod
    def post(*, key: str, transaction_id: Any = None, **more: Any) -> ledger.Posting:
        return ledger.post(key=f"{key}:{uuid4()}", **more)


_locked = granting._locked


def _locked_in_vain(platform: Any, line: Any) -> PlatformPurchase:
    with transaction.atomic():
        return _locked(platform, line)


DONE: dict[type, dict[str, str]] = {
    Order: {"state": "accepted"},
    PlatformNotice: {"state": "done"},
    PlatformPurchase: {"told": "done"},
}


def _claim_for_good(due: "QuerySet[Any]", *, limit: int, lease: timedelta) -> list[Any]:
    rows = sweeper.claim(due, limit=limit, lease=lease)
    due.model._default_manager.filter(pk__in=[row.pk for row in rows]).update(**DONE[due.model])
    return rows


if os.environ["CARELESS"] == "doubles":
    vars(granting).update(transaction=Apart, _locked=_locked_in_vain)
    for module in (contents, reversals):
        vars(module).update(ledger=KeylessLedger())
else:
    for queue in (orders, notices, telling):
        vars(queue).update(claim=_claim_for_good)
