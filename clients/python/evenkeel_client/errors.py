"""What can go wrong with a call."""

from typing import Any


class EvenkeelError(Exception):
    """The server refused: `status`, the stable `code`, and the whole problem `document`."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        self.status = status
        self.code = str(document.get("code", "unknown"))
        self.detail = str(document.get("detail", ""))
        self.document = document
        super().__init__(f"{status} {self.code}: {self.detail}")


class VersionConflictError(EvenkeelError):
    """Another device wrote first. `current` describes its version; None: there is no such save."""

    @property
    def current(self) -> dict[str, Any] | None:
        current = self.document.get("current")
        return current if isinstance(current, dict) else None


class RateLimitedError(EvenkeelError):
    """Too many requests, and waiting longer than the client may wait would not have helped."""


class UnreachableError(Exception):
    """No answer, after all retries. The call may have been done or not; repeating it is safe."""


def error_of(status: int, document: dict[str, Any]) -> EvenkeelError:
    """The exception for a problem document."""
    if document.get("code") == "version_conflict":
        return VersionConflictError(status, document)
    if document.get("code") == "rate_limited":
        return RateLimitedError(status, document)
    return EvenkeelError(status, document)
