"""What holds for every endpoint: strict bodies, bounds, methods, headers, problem documents."""

import gzip
import io
import json
import re
import secrets
from collections import defaultdict
from typing import Any

import pytest
from django.conf import settings

from config.api.parsing import MAX_DEPTH, convert
from tests.contract.callers import World
from tests.contract.operations import Operation, Owned, all_operations, named
from tests.fixtures.api import ApiClient, assert_problem

pytestmark = [pytest.mark.django_db, pytest.mark.once]
OPERATIONS = all_operations()
GUARDED = [operation for operation in OPERATIONS if operation.contract.callers]
WITH_JSON = [operation for operation in OPERATIONS if operation.contract.body is not None]
WITH_BODY = [operation for operation in OPERATIONS if operation.takes_body]
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
# 2 GB, of which not a byte is sent.
DECLARED = 2 << 30


class NothingMore(io.BytesIO):
    """A body that must not be read: whoever declares too much is refused before."""

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("The body was read")


def caller(world: World, operation: Operation) -> ApiClient:
    kinds = operation.contract.callers
    return world.client(kinds[0]) if kinds else ApiClient()


def send(
    world: World,
    operation: Operation,
    body: Any = None,
    *,
    content_type: str = "application/json",
    **headers: str,
) -> Any:
    """A call of the operation with the right credential and this body."""
    extra = {"if_none_match": "*"}
    if operation.contract.idempotent != "no":
        extra["idempotency_key"] = secrets.token_hex(8)
    if operation.contract.raw_body and content_type == "application/json":
        content_type = operation.contract.raw_body[0]
    path = operation.path(**world.names) + operation.query()
    return caller(world, operation).call(
        operation.method, path, body, content_type=content_type, **(extra | headers)
    )


# --- bodies --------------------------------------------------------------------------------

NOT_JSON: dict[str, tuple[bytes, str]] = {
    "white space": (b" ", "invalid_json"),
    "cut short": (b'{"a": ', "invalid_json"),
    "two documents": (b"{} {}", "invalid_json"),
    "a duplicate key": (b'{"zz": 1, "zz": 1}', "invalid_json"),
    "a NUL": (b'{"zz": "\\u0000"}', "invalid_json"),
    "a raw NUL": (b'{"zz": "\x00"}', "invalid_json"),
    "a lone surrogate": (b'{"zz": "\\ud800"}', "invalid_json"),
    "NaN": (b'{"zz": NaN}', "invalid_json"),
    "Infinity": (b'{"zz": -Infinity}', "invalid_json"),
    "a number beyond doubles": (b'{"zz": 1e999}', "invalid_json"),
    "2^64": (b'{"zz": 18446744073709551616}', "invalid_json"),
    "5,000 digits": (b'{"zz": ' + b"9" * 5000 + b"}", "invalid_json"),
    "depth": (b'{"zz": ' + b"[" * 60 + b"]" * 60 + b"}", "invalid_json"),
    "half a million brackets": (b"[" * 100_000, "invalid_json"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "invalid_encoding"),
    "Latin-1": (b'{"a": "\xe9"}', "invalid_encoding"),
    "a list": (b"[]", "validation_failed"),
    "null": (b"null", "validation_failed"),
    "text": (b'"x"', "validation_failed"),
    "true": (b"true", "validation_failed"),
}


@pytest.mark.parametrize("operation", **named(WITH_JSON))
def test_body__that_is_not_acceptable_json(operation: Operation, world: World) -> None:
    assert MAX_DEPTH < 60
    for name, (body, code) in NOT_JSON.items():
        answer = send(world, operation, body)
        assert answer.status_code == 400, (name, answer.status_code, answer.content)
        assert_problem(answer, 400, code)


@pytest.mark.parametrize("operation", **named(WITH_JSON))
def test_body__with_an_unknown_field(operation: Operation, world: World) -> None:
    body = {**operation.body(), "no_such_field": None}

    problem = assert_problem(send(world, operation, body), 400, "unknown_field")

    assert problem["errors"][0]["pointer"] == "/no_such_field"


@pytest.mark.parametrize("operation", **named(WITH_JSON))
def test_body__with_each_field_of_a_wrong_type(operation: Operation, world: World) -> None:
    """Booleans are no integers, numbers no strings; the pointer says which field it was."""
    for name in operation.body():
        wrongs: tuple[Any, ...] = (True, 1.5, -(2**63), [[]], {"": {}}, None)
        for wrong in wrongs:
            answer = send(world, operation, {**operation.body(), name: wrong})
            assert answer.status_code < 500, (name, wrong, answer.content)
            if answer.status_code == 400 and answer.json().get("errors"):
                assert answer.json()["errors"][0]["pointer"].startswith(f"/{name}")


@pytest.mark.parametrize("operation", **named(WITH_JSON))
def test_body__of_another_media_type(operation: Operation, world: World) -> None:
    for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "json"):
        answer = send(world, operation, b"{}", content_type=kind)
        assert_problem(answer, 415, "unsupported_media_type")
    answer = send(world, operation, b"[]", content_type="Application/JSON; charset=utf-8")
    assert_problem(answer, 400, "validation_failed")


@pytest.mark.parametrize("operation", **named(WITH_BODY))
def test_body__too_large(operation: Operation, world: World) -> None:
    """Refused by what it declares, before a byte of it is read."""
    limit = max(settings.MAX_EVENT_BATCH_BYTES, settings.SAVE_MAX_BYTES)
    answer = send(world, operation, b'"' + b"x" * limit + b'"')
    assert_problem(answer, 413, "body_too_large")
    request = caller(world, operation)
    extra: dict[str, Any] = {
        "CONTENT_TYPE": (operation.contract.raw_body or ("application/json",))[0],
        "CONTENT_LENGTH": str(DECLARED),
        "wsgi.input": NothingMore(),
    }
    declared = request.client.generic(
        operation.method,
        operation.path(**world.names),
        b"",
        headers={**request.headers, "If-None-Match": "*"},
        **extra,
    )
    assert_problem(declared, 413, "body_too_large")


@pytest.mark.parametrize("operation", **named(WITH_BODY))
def test_body__compressed(operation: Operation, world: World) -> None:
    bomb = gzip.compress(b"0" * (32 << 20), compresslevel=1)
    assert len(bomb) < settings.MAX_BODY_BYTES
    cases = [
        (bomb, "gzip", 413, "body_too_large"),
        (b"not gzip at all", "gzip", 400, "invalid_encoding"),
        (gzip.compress(b"{}")[:-4], "gzip", 400, "invalid_encoding"),
        (gzip.compress(b"{}") + b"more", "gzip", 400, "invalid_encoding"),
        (b"{}", "br", 415, "unsupported_media_type"),
        (b"{}", "gzip, gzip", 415, "unsupported_media_type"),
    ]
    for body, encoding, status, code in cases:
        answer = send(world, operation, body, content_encoding=encoding)
        assert answer.status_code == status, (encoding, body[:20], answer.content)
        assert_problem(answer, status, code)


@pytest.mark.parametrize("operation", **named(WITH_JSON))
def test_body__compressed_well__is_read(operation: Operation, world: World) -> None:
    body = gzip.compress(json.dumps({**operation.body(), "nope": 1}).encode())

    answer = send(world, operation, body, content_encoding="gzip")

    assert_problem(answer, 400, "unknown_field")


@pytest.mark.parametrize("operation", **named(WITH_JSON))
def test_example__is_there_and_is_what_the_body_takes(operation: Operation) -> None:
    contract = operation.contract
    assert contract.example is not None, "Document it with an example"
    assert contract.body is not None
    convert(json.loads(json.dumps(contract.example)), contract.body)


# --- addresses and parameters --------------------------------------------------------------


def methods_by_route() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for operation in OPERATIONS:
        found[operation.route].add(operation.method)
    return found


@pytest.mark.parametrize("operation", **named({o.route: o for o in OPERATIONS}.values()))
def test_method__that_the_address_does_not_take(operation: Operation, world: World) -> None:
    taken = methods_by_route()[operation.route]
    for method in sorted(METHODS - taken):
        answer = caller(world, operation).call(method, operation.path())
        assert_problem(answer, 405, "method_not_allowed")
        allowed = set(answer["Allow"].split(", "))
        assert taken <= allowed <= taken | {"OPTIONS", "HEAD"}
    options = caller(world, operation).call("OPTIONS", operation.path())
    assert options.status_code == 204
    assert taken <= set(options["Allow"].split(", "))


@pytest.mark.parametrize("operation", **named(OPERATIONS))
def test_address__with_a_slash_too_many(operation: Operation, world: World) -> None:
    answer = caller(world, operation).call(operation.method, operation.path() + "/")

    assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nope", "/v2/sessions", "/v1/saves/UPPER",
                                  "/v1/sessions/not-a-uuid", "/nope", "/v1/%00", "/v1/saves/a%00b",
                                  "/v1/saves/" + "x" * 3000, "/v1/%ff%fe"])  # fmt: skip
def test_address__that_is_none(path: str, world: World) -> None:
    for method in ("GET", "POST"):
        assert_problem(world.client("player").call(method, path), 404, "not_found")


@pytest.mark.parametrize("operation", **named(GUARDED))
def test_parameter__that_is_not_known(operation: Operation, world: World) -> None:
    required = operation.query()
    path = operation.path() + (f"{required}&" if required else "?") + "no_such_parameter=1"

    answer = caller(world, operation).call(
        operation.method,
        path,
        operation.body() if not operation.contract.raw_body else b"{}",
        content_type=(operation.contract.raw_body or ("",))[0],
        if_none_match="*",
    )

    assert_problem(answer, 400, "unknown_parameter")


@pytest.mark.parametrize("operation", **named(o for o in OPERATIONS if o.is_list))
def test_list__bounds_and_cursors(operation: Operation, world: World, owned: Owned) -> None:
    client = caller(world, operation)
    path = owned.path(operation) + (operation.query() or "?")
    for wrong in ("limit=0", "limit=201", "limit=-1", "limit=x", "limit=1.5", "limit=",
                  "limit=99999999999999999999", "limit=1&limit=2"):  # fmt: skip
        assert_problem(client.get(f"{path}&{wrong}"), 400, "validation_failed")
    for cursor in ("x", "%00", "%ff", "W10", "WzAsW11d", "W2ZhbHNlLFtudWxsLG51bGxdXQ",
                   "WzAsWyJ4IiwieSJdXQ", "x" * 400):  # fmt: skip
        answer = client.get(f"{path}&cursor={cursor}")
        assert answer.status_code == 400, (cursor, answer.content)
        assert answer.json()["code"] in ("invalid_cursor", "validation_failed")
    whole = client.get(f"{path}&limit=200")
    assert whole.status_code == 200, whole.content
    assert {"results", "next", "previous"} <= whole.json().keys()


@pytest.mark.parametrize(
    "operation", **named(o for o in OPERATIONS if o.contract.idempotent != "no")
)
def test_idempotency_key__malformed_or_missing(operation: Operation, world: World) -> None:
    for key in ("x" * 201, "", "two words", "é", "tab\there", "\x7f"):
        answer = send(world, operation, operation.body(), idempotency_key=key)
        assert_problem(answer, 400, "invalid_header")
    client = caller(world, operation)
    bare = client.call(operation.method, operation.path(**world.names), operation.body())
    if operation.contract.idempotent in ("required", "domain"):
        assert_problem(bare, 400, "idempotency_key_required")
    else:
        assert bare.status_code != 500
        assert b"idempotency_key_required" not in bare.content


# --- headers -------------------------------------------------------------------------------

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("operation", **named(OPERATIONS))
def test_headers__request_id_and_protection(operation: Operation, world: World) -> None:
    """On answers and on problems alike."""
    given = f"game-{secrets.token_hex(6)}"
    for client in (caller(world, operation), ApiClient()):
        answer = client.call(operation.method, operation.path(), x_request_id=given)
        assert answer["X-Request-ID"] == given
        if answer.status_code != 204:
            assert answer["Content-Length"] == str(len(answer.content))
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        if operation.contract.callers:
            assert "no-store" in answer["Cache-Control"] or "private" in answer["Cache-Control"]
        for malformed in ("short", "has spaces in it", "x" * 129, "<script>alert</script>"):
            again = client.call(operation.method, operation.path(), x_request_id=malformed)
            assert UUID7.fullmatch(again["X-Request-ID"]), again["X-Request-ID"]


@pytest.mark.parametrize("operation", **named(GUARDED))
def test_headers__limits_are_told(operation: Operation, world: World) -> None:
    answer = send(world, operation, operation.body())

    assert re.fullmatch(r'"\w+";r=\d+;t=\d+', answer["RateLimit"])
    assert re.fullmatch(r'"\w+";q=\d+;w=\d+', answer["RateLimit-Policy"])


@pytest.mark.parametrize("operation", **named(GUARDED))
def test_limit__reached(operation: Operation, world: World, settings: Any) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (1, 60))
    client = caller(world, operation)
    call = {"method": operation.method, "path": operation.path()}
    client.call(**call)

    refused = assert_problem(answer := client.call(**call), 429, "rate_limited")

    assert int(answer["Retry-After"]) > 0
    assert ";r=0;" in answer["RateLimit"]
    assert "try again" in refused["detail"]
