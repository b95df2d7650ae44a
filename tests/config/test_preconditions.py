"""`ETag`, `If-Match`, `If-None-Match`."""

from typing import Any

import pytest
from django.test import RequestFactory

from config.api.preconditions import (
    Precondition,
    content_etag,
    etag,
    is_not_modified,
    require_precondition,
)
from config.api.problems import InvalidRequestHeader, PreconditionRequired


def request(**headers: str) -> Any:
    return RequestFactory().put("/", headers=headers)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"If-Match": '"3"'}, Precondition(match="3")),
        ({"If-Match": "*"}, Precondition(any_version=True)),
        ({"If-None-Match": "*"}, Precondition(must_not_exist=True)),
    ],
)
def test_require_precondition__valid__understood(
    headers: dict[str, str], expected: Precondition
) -> None:
    assert require_precondition(request(**headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "3"},
        {"If-Match": 'W/"3"'},
        {"If-Match": '"3", "4"'},
        {"If-None-Match": '"3"'},
        {"If-Match": '"3"', "If-None-Match": "*"},
        {"If-Match": '"' + "x" * 121 + '"'},
    ],
)
def test_require_precondition__malformed__refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestHeader):
        require_precondition(request(**headers))


def test_require_precondition__none__required() -> None:
    with pytest.raises(PreconditionRequired):
        require_precondition(request())


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", False), ("*", True), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b"', False)],
)
def test_is_not_modified__if_none_match__compared_weakly(header: str, expected: bool) -> None:
    assert is_not_modified(request(**{"If-None-Match": header}), etag("a")) is expected


def test_content_etag__same_bytes__same_tag() -> None:
    assert content_etag(b"a") == content_etag(b"a") != content_etag(b"b")
