"""Keys. UUIDv7 (RFC 9562): ordered by time, so that new rows land on one index page."""

import uuid

from uuid_utils.compat import uuid7 as _uuid7


def uuid7() -> uuid.UUID:
    """A new UUIDv7."""
    return _uuid7()
