"""Strict JSON: what is refused, and that everything else survives unchanged."""

import gzip
import json
import zlib
from typing import Annotated, Any

import msgspec
import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from config.api import problems
from config.api.parsing import (
    MAX_DEPTH,
    base64_bytes,
    convert,
    gunzip,
    parse_json,
    parse_query,
    read_body,
    strict_json,
)
from config.api.wire import Input, Int64

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=20,
)


@given(plain, st.booleans())
def test_strict_json__valid_document__round_trips(value: Any, ascii_only: bool) -> None:
    assert strict_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'["\\ud800"]',
        b'["\\udc00\\ud800"]',
        b'{"\\uD800": 1}',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e400]",
        b"[9223372036854775808]",
        b"[-9223372036854775809]",
        b"[" + b"9" * 5000 + b"]",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"",
        b"{",
        b"{'a': 1}",
        b"[1,]",
        b"[1] [2]",
        b'["\x00"]',
        b"[01]",
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: body[:20].decode("latin-1"),
)
def test_strict_json__malformed_or_ambiguous__refused(body: bytes) -> None:
    with pytest.raises(problems.InvalidJson):
        strict_json(body)


@pytest.mark.parametrize("body", [b'["\xff"]', b'["\xed\xa0\x80"]', "[]".encode("utf-16")])
def test_strict_json__not_utf8__refused(body: bytes) -> None:
    with pytest.raises((problems.InvalidEncoding, problems.InvalidJson)):
        strict_json(body)


def test_strict_json__brackets_inside_strings__are_not_depth() -> None:
    value = {"a": "[" * 200, "b": '"\\{' * 50}
    assert strict_json(json.dumps(value).encode()) == value


def test_strict_json__deepest_allowed_nesting__accepted() -> None:
    body = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert json.dumps(strict_json(body)).encode() == body


def test_strict_json__escaped_backslash_before_u0000__is_text() -> None:
    assert strict_json(rb'["\\u0000", "\\ud800"]') == ["\\u0000", "\\ud800"]


class Part(Input, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=3)]
    count: Int64 = 0


class Whole(Input, frozen=True):
    parts: list[Part]
    note: str | None = None


@pytest.mark.parametrize(
    ("value", "pointer", "code"),
    [
        ({"parts": [{"name": "a", "x": 1}]}, "/parts/0/x", "unknown_field"),
        ({"parts": [], "y": 1}, "/y", "unknown_field"),
        ({"parts": [{"name": "abcd"}]}, "/parts/0/name", "invalid_value"),
        ({"parts": [{"count": 1}]}, "/parts/0/name", "required"),
        ({"parts": [{"name": "a", "count": True}]}, "/parts/0/count", "invalid_type"),
        ({"parts": [{"name": "a", "count": "1"}]}, "/parts/0/count", "invalid_type"),
        ({"parts": "no"}, "/parts", "invalid_type"),
        ([], "", "invalid_type"),
        ({}, "/parts", "required"),
    ],
)
def test_convert__wrong_shape__names_the_place(value: Any, pointer: str, code: str) -> None:
    with pytest.raises((problems.ValidationFailed, problems.UnknownField)) as caught:
        convert(value, Whole)
    (error,) = caught.value.errors
    assert (error.pointer, error.code) == (pointer, code)
    assert ("unknown_field" if code == "unknown_field" else "validation_failed") == (
        caught.value.code
    )


def request_of(body: bytes, **headers: str) -> Any:
    meta: dict[str, Any] = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return RequestFactory().generic(
        "POST", "/", body, content_type=headers.pop("kind", "application/json"), **meta
    )


def test_read_body__gzip__is_decompressed() -> None:
    request = request_of(gzip.compress(b'{"parts": []}'), content_encoding="gzip")
    assert parse_json(request, Whole, 1000)[0] == Whole(parts=[])


def test_read_body__gzip_bomb__refused_by_its_decompressed_size() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    with pytest.raises(problems.BodyTooLarge):
        read_body(request_of(bomb, content_encoding="gzip"), 100_000)


@pytest.mark.parametrize(
    "data",
    [
        b"not gzip",
        gzip.compress(b"{}")[:-4],
        gzip.compress(b"{}") + b"more",
        gzip.compress(b"{}") + gzip.compress(b"{}"),
        zlib.compress(b"{}"),
    ],
    ids=["text", "cut short", "appended", "two members", "zlib"],
)
def test_gunzip__damaged_or_appended_data__refused(data: bytes) -> None:
    with pytest.raises(problems.InvalidEncoding):
        gunzip(data, 1000)


def test_read_body__other_encoding__unsupported() -> None:
    with pytest.raises(problems.UnsupportedMediaType):
        read_body(request_of(b"{}", content_encoding="br"), 100)


def test_read_body__declared_length_over_limit__refused_without_reading() -> None:
    request = request_of(b"")
    request.META["CONTENT_LENGTH"] = str(2 << 30)
    with pytest.raises(problems.BodyTooLarge):
        read_body(request, 1000)


def test_read_body__shorter_than_declared__refused() -> None:
    request = request_of(b"abc")
    request.META["CONTENT_LENGTH"] = "10"
    with pytest.raises(problems.BadRequest):
        read_body(request, 1000)


def test_read_body__chunked_without_length__length_required() -> None:
    request = request_of(b"", transfer_encoding="chunked")
    request.META["CONTENT_LENGTH"] = ""
    with pytest.raises(problems.LengthRequired):
        read_body(request, 1000)


def test_read_body__length_that_is_no_number__refused() -> None:
    request = request_of(b"")
    request.META["CONTENT_LENGTH"] = "ten"
    with pytest.raises(problems.BadRequest):
        read_body(request, 1000)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_parse_json__other_content_type__unsupported(kind: str) -> None:
    request = RequestFactory().generic("POST", "/", b"{}", content_type=kind)
    with pytest.raises(problems.UnsupportedMediaType):
        parse_json(request, Whole, 1000)


class Query(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    name: str | None = None


def test_parse_query__valid__converted() -> None:
    request = RequestFactory().get("/?limit=7&name=x")
    assert parse_query(request, Query) == Query(limit=7, name="x")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", problems.ValidationFailed),
        ("limit=201", problems.ValidationFailed),
        ("limit=x", problems.ValidationFailed),
        ("limit=1&limit=2", problems.ValidationFailed),
        ("name=%00", problems.ValidationFailed),
        ("page=1", problems.UnknownParameter),
    ],
)
def test_parse_query__bad_parameter__refused(query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_query(RequestFactory().get(f"/?{query}"), Query)


def test_base64_bytes__valid__decoded() -> None:
    assert base64_bytes("aGk=", "/content") == b"hi"


@pytest.mark.parametrize("text", ["aGk", "a b=", "é", "aGk=\n="])
def test_base64_bytes__malformed__refused(text: str) -> None:
    with pytest.raises(problems.ValidationFailed):
        base64_bytes(text, "/content")
