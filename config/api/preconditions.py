"""Optimistic concurrency: `ETag`, `If-Match`, `If-None-Match` (RFC 9110, section 13)."""

import hashlib
import re
from dataclasses import dataclass

from config.api.callers import ApiRequest
from config.api.problems import InvalidRequestHeader, PreconditionRequired

_ETAG = re.compile(r'"([\x21\x23-\x7e]{0,120})"')
_WEAK_OR_STRONG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]{0,120})"')


@dataclass(frozen=True)
class Precondition:
    """What a write expects: a version it has seen (`match`), any version, or that there is none."""

    match: str | None = None
    any_version: bool = False
    must_not_exist: bool = False


def etag(value: object) -> str:
    """A strong entity tag."""
    return f'"{value}"'


def content_etag(body: bytes) -> str:
    """An entity tag made from the bytes of an answer."""
    return etag(hashlib.sha256(body).hexdigest()[:32])


def require_precondition(request: ApiRequest) -> Precondition:
    """What the write expects. Raises `PreconditionRequired` or `InvalidRequestHeader`."""
    if_match = request.META.get("HTTP_IF_MATCH", "").strip()
    if_none = request.META.get("HTTP_IF_NONE_MATCH", "").strip()
    if if_match and if_none:
        raise InvalidRequestHeader("Send If-Match or If-None-Match, not both")
    if if_none:
        if if_none != "*":
            raise InvalidRequestHeader("A write takes If-None-Match: * only")
        return Precondition(must_not_exist=True)
    if not if_match:
        raise PreconditionRequired
    if if_match == "*":
        return Precondition(any_version=True)
    # Weak tags never match a write (RFC 9110, 13.1.1), and one client has seen one version.
    if not (tag := _ETAG.fullmatch(if_match)):
        raise InvalidRequestHeader('If-Match takes one strong entity tag, such as "3"')
    return Precondition(match=tag[1])


def is_not_modified(request: ApiRequest, current: str) -> bool:
    """Whether a GET's `If-None-Match` names `current` (a tag with its quotes)."""
    header = request.META.get("HTTP_IF_NONE_MATCH", "")
    if header.strip() == "*":
        return True
    return current.strip('"') in _WEAK_OR_STRONG.findall(header)
