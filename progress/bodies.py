"""The bytes of saves on the wire: their type, their digest (RFC 9530), their headers."""

import base64
import binascii
import hashlib
import hmac
import re

from django.http import HttpResponse
from django.utils.http import http_date

from config.api.callers import ApiRequest
from config.api.parsing import gunzip, read_content
from config.api.preconditions import etag, is_not_modified
from config.api.problems import InvalidRequestHeader, UnsupportedMediaType
from progress.errors import ContentDigestMismatch
from progress.selectors import SaveRead

MEDIA_TYPES = ("application/json", "application/octet-stream")
_SHA256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?(?=,|$)")


def media_type(request: ApiRequest) -> str:
    """The body's media type. Raises `UnsupportedMediaType`."""
    given = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if given not in MEDIA_TYPES:
        raise UnsupportedMediaType(f"Send the save as {' or '.join(MEDIA_TYPES)}")
    return str(given)


def read_save(request: ApiRequest, limit: int) -> bytes:
    """The save that was sent, decompressed, once `Content-Digest` has been checked.

    The digest is of the content as sent, so of the compressed bytes where it is compressed.
    """
    content, is_gzip = read_content(request, limit)
    check_digest(request.META.get("HTTP_CONTENT_DIGEST", ""), content)
    return gunzip(content, limit) if is_gzip else content


def check_digest(header: str, content: bytes) -> None:
    """Raises `ContentDigestMismatch`, or `InvalidRequestHeader` for a malformed sha-256."""
    if "sha-256" not in header:
        return
    found = _SHA256.search(header)
    if found is None:
        raise InvalidRequestHeader("Content-Digest takes sha-256=:base64:")
    try:
        digest = base64.b64decode(found[1], validate=True)
    except binascii.Error:
        raise InvalidRequestHeader("The digest in Content-Digest is not base64") from None
    if not hmac.compare_digest(digest, hashlib.sha256(content).digest()):
        raise ContentDigestMismatch


def save_answer(request: ApiRequest, save: SaveRead) -> HttpResponse:
    """The bytes as they were sent, or 304 for a reader that has them."""
    tag = etag(save.version)
    headers = {
        "ETag": tag,
        "Last-Modified": http_date(save.updated_at.timestamp()),
        # Of the save itself, whatever compression is put around it on the way.
        "Repr-Digest": f"sha-256=:{base64.b64encode(save.sha256).decode()}:",
    }
    if save.body is None or is_not_modified(request, tag):
        response = HttpResponse(status=304, headers=headers)
        del response["Content-Type"]
        return response
    headers["Content-Disposition"] = "attachment"
    return HttpResponse(save.body, content_type=save.content_type, headers=headers)


def known_version(request: ApiRequest) -> str | None:
    """The one entity tag that a reader holds, if it names one."""
    found = re.fullmatch(r'\s*"([^"]*)"\s*', request.META.get("HTTP_IF_NONE_MATCH", ""))
    return found[1] if found else None
