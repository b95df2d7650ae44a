"""A running server beside the tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections


@contextmanager
def brief_connections() -> Iterator[None]:
    """Within: every request closes its connection to the database, also in threads of a live server
    that wait for their client's next request, and would keep the test database in use."""
    kept = connections.settings["default"]
    age = kept["CONN_MAX_AGE"]
    kept["CONN_MAX_AGE"] = 0
    try:
        yield
    finally:
        kept["CONN_MAX_AGE"] = age
