"""Read replicas, for reads that need not see one's own write.

    with from_replica():
        rows = MetricRow.objects.filter(…)

Everything else goes to the primary. A replica lags; nothing that decides about value, sign-in or
a conflict may be read there.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.conf import settings

_replica: ContextVar[str | None] = ContextVar("replica", default=None)


@contextmanager
def from_replica() -> Iterator[None]:
    """Within: ORM reads go to one of `DATABASE_REPLICA_URLS`, if there are any."""
    names = [name for name in settings.DATABASES if name.startswith("replica")]
    token = _replica.set(random.choice(names) if names else None)  # noqa: S311 (spreads load)
    try:
        yield
    finally:
        _replica.reset(token)


class ReplicaRouter:
    """Django's database router for `from_replica`."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return _replica.get()

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default"
