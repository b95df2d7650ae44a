"""Strict reading of what clients send: bodies, JSON, query strings.

The standard library's JSON scanner is used because it alone can see duplicate keys; msgspec
then converts and checks types, bounds and unknown fields in one pass.
"""

import binascii
import json
import math
import re
import zlib
from functools import cache
from typing import Any, TypeVar

import msgspec
from django.http import HttpRequest

from config.api.problems import (
    BadRequest,
    BodyTooLarge,
    FieldError,
    InvalidEncoding,
    InvalidJson,
    LengthRequired,
    UnknownField,
    UnknownParameter,
    UnsupportedMediaType,
    ValidationFailed,
)

T = TypeVar("T")
MAX_DEPTH = 32
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The request's body, decompressed, never more than `limit` bytes in memory.

    Raises `BodyTooLarge`, `LengthRequired`, `InvalidEncoding`, `UnsupportedMediaType`.
    """
    content, is_gzip = read_content(request, limit)
    return gunzip(content, limit) if is_gzip else content


def read_content(request: HttpRequest, limit: int) -> tuple[bytes, bool]:
    """The request's content as it was sent, and whether that is gzip (see `gunzip`).

    Raises `BodyTooLarge`, `LengthRequired`, `UnsupportedMediaType`.
    """
    if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
        raise LengthRequired
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise BadRequest("Content-Length is not a number") from None
    if length > limit:
        raise BodyTooLarge(f"The body may have {limit} bytes")
    # WSGI's stream is bounded by Content-Length; a client that sends less has gone away.
    body = request.read(length) if length else b""
    if len(body) < length:
        raise BadRequest("The body is shorter than its Content-Length")
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise UnsupportedMediaType("Content-Encoding may be gzip or identity")
    return body, encoding == "gzip"


def gunzip(data: bytes, limit: int) -> bytes:
    """One gzip member, decompressed; a bomb costs no more memory than `limit` bytes."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        body = inflate.decompress(data, limit + 1)
    except zlib.error:
        raise InvalidEncoding("The body is not gzip") from None
    if len(body) > limit:
        raise BodyTooLarge(f"The decompressed body may have {limit} bytes")
    if not inflate.eof or inflate.unused_data:
        raise InvalidEncoding("The gzip data is cut short or followed by something else")
    return body


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise InvalidJson("An object names the same key twice")
    return result


def _integer(text: str) -> int:
    if len(text) <= 20:
        number = int(text)
        if INT64_MIN <= number <= INT64_MAX:
            return number
    raise InvalidJson("An integer does not fit 64 bits")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJson("A number is too large")
    return number


def _constant(name: str) -> Any:
    raise InvalidJson(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


# Unrolled, so that each string is one run in C: a batch of events has thousands.
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def _depth(text: str) -> int:
    deepest = depth = 0
    for mark in _BRACKET.findall(_STRING.sub("", text)):
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _refuse_bad_characters(value: Any) -> None:
    """PostgreSQL stores neither NUL nor half a surrogate pair, and escapes can spell both."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidJson("A string has a NUL character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidJson("A string has a lone surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            _refuse_bad_characters(name)
            _refuse_bad_characters(member)
    elif isinstance(value, list):
        for member in value:
            _refuse_bad_characters(member)


def strict_json(body: bytes) -> Any:
    """What `body` says, as dicts, lists and scalars. Raises `InvalidJson`, `InvalidEncoding`."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise InvalidEncoding("The body is not UTF-8") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise InvalidJson(f"The body nests deeper than {MAX_DEPTH}")
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg} at character {error.pos}") from None
    if "\\u" in text:
        _refuse_bad_characters(value)
    return value


_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`")
_PATH = re.compile(r" - at `(.+)`$")
_MISSING = re.compile(r"Object missing required field `(.+?)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _pointer(path: str) -> str:
    """msgspec's `$.events[0].name` as a JSON pointer: `/events/0/name`."""
    steps = [name or index for name, index in _STEP.findall(path)]
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def convert(value: Any, kind: type[T]) -> T:
    """`value` as a `kind`. Raises `UnknownField` or `ValidationFailed` with a JSON pointer."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _validation_problem(str(error)) from None


def _validation_problem(message: str) -> UnknownField | ValidationFailed:
    path = _PATH.search(message)
    pointer = _pointer(path[1]) if path else ""
    detail = _PATH.sub("", message)
    if unknown := _UNKNOWN.search(detail):
        where = f"{pointer}/{unknown[1]}"
        return UnknownField(
            f"{where} is not a field of this call",
            errors=[FieldError(where, "unknown_field", "This field is not known here")],
        )
    if missing := _MISSING.search(detail):
        pointer, code = f"{pointer}/{missing[1]}", "required"
        detail = "This field is required"
    else:
        code = "invalid_type" if "got `" in detail and "Expected `" in detail else "invalid_value"
    return ValidationFailed(
        f"{pointer or 'The body'}: {detail}", errors=[FieldError(pointer, code, detail)]
    )


def invalid(pointer: str, detail: str, code: str = "invalid_value") -> ValidationFailed:
    """A `ValidationFailed` for a rule that a type can't express."""
    return ValidationFailed(
        f"{pointer or 'The body'}: {detail}", errors=[FieldError(pointer, code, detail)]
    )


def parse_json(request: HttpRequest, kind: type[T], limit: int) -> tuple[T, bytes]:
    """The JSON body as a `kind`, and its bytes (for an idempotency fingerprint)."""
    content_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    body = read_body(request, limit)
    if content_type != "application/json":
        raise UnsupportedMediaType("Send the body as application/json")
    return convert(strict_json(body), kind), body


@cache
def _fields(kind: type) -> dict[str, str]:
    """The parameters of a query's Struct: name on the wire → attribute."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(kind)}


def parse_query(request: HttpRequest, kind: type[T]) -> T:
    """The query string as a `kind`; every parameter once, none unknown."""
    values: dict[str, str] = {}
    for name, given in request.GET.lists():
        if len(given) != 1:
            raise ValidationFailed(f"The parameter {name} is given more than once")
        if "\0" in given[0]:
            raise ValidationFailed(f"The parameter {name} has a NUL character")
        values[name] = given[0]
    fields = _fields(kind)  # type: ignore[arg-type]  # mypy: a class is hashable
    if unknown := values.keys() - fields.keys():
        raise UnknownParameter(f"The parameter {sorted(unknown)[0]} is not known here")
    try:
        query = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        problem = _validation_problem(str(error))
        raise ValidationFailed(problem.detail, errors=problem.errors) from None
    for name in values:
        # msgspec reads the text "null" as None; a parameter that is none is left out.
        if getattr(query, fields[name]) is None:
            raise ValidationFailed(f"The parameter {name} can't be null")
    return query


def base64_bytes(text: str, pointer: str) -> bytes:
    """Standard base64, decoded. Raises `ValidationFailed`."""
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise invalid(pointer, "This is not base64") from None
