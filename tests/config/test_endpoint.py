"""What holds on every endpoint: problem documents, headers, compression, request ids."""

import gzip
import io
import json
import logging
from typing import Any

import pytest

from config.api.problem_pages import problems_table
from config.api.problems import all_problems
from tests.fixtures.api import ApiClient, assert_problem

pytestmark = pytest.mark.urls("tests.config.probe")


def test_answer__any__carries_request_id_and_security_headers(anonymous: ApiClient) -> None:
    answer = anonymous.get("/v1/probe?limit=1", x_request_id="client-chosen-1")
    assert answer["X-Request-ID"] == "client-chosen-1"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("given", ["short", "has space in it", "x" * 129, "new\nline-12345"])
def test_answer__malformed_request_id__gets_one_of_ours(anonymous: ApiClient, given: str) -> None:
    answer = anonymous.get("/v1/probe?limit=1", x_request_id=given)
    assert answer["X-Request-ID"] != given
    assert len(answer["X-Request-ID"]) == 36


def test_answer__over_1_kib__compressed_for_who_accepts_it(anonymous: ApiClient) -> None:
    answer = anonymous.get("/v1/probe?limit=200", accept_encoding="br, gzip;q=0.8")
    assert answer["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.content)) == {"said": "y" * 4000}
    assert "Accept-Encoding" in answer["Vary"]


@pytest.mark.parametrize("accept", ["", "br", "gzip;q=0", "identity"])
def test_answer__gzip_not_accepted__plain(anonymous: ApiClient, accept: str) -> None:
    answer = anonymous.get("/v1/probe?limit=200", accept_encoding=accept)
    assert "Content-Encoding" not in answer
    assert "Accept-Encoding" in answer["Vary"]


def test_answer__small__never_compressed(anonymous: ApiClient) -> None:
    assert "Content-Encoding" not in anonymous.get("/v1/probe?limit=1", accept_encoding="gzip")


def test_write__gzip_body__understood(anonymous: ApiClient) -> None:
    answer = anonymous.call(
        "POST",
        "/v1/probe",
        gzip.compress(b'{"name":"koi"}'),
        content_type="application/json",
        content_encoding="gzip",
    )
    assert (answer.status_code, answer.json()) == (201, {"said": "koi"})


def test_unknown_address__is_a_problem(anonymous: ApiClient) -> None:
    for path in ("/v1/nowhere", "/v1/", "/v2/probe", "/nowhere", "/v1/probe/"):
        assert_problem(anonymous.get(path), 404, "not_found")


def test_missing__is_a_problem(anonymous: ApiClient) -> None:
    document = assert_problem(anonymous.get("/v1/missing"), 404, "not_found")
    assert document["detail"] == "There is no such thing"


def test_wrong_method__says_which_are_allowed(anonymous: ApiClient) -> None:
    answer = anonymous.put("/v1/probe", {})
    assert_problem(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST"


def test_options__answers_without_a_body(anonymous: ApiClient) -> None:
    answer = anonymous.call("OPTIONS", "/v1/probe")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "GET" in answer["Allow"]


def test_head__has_no_body(anonymous: ApiClient) -> None:
    answer = anonymous.call("HEAD", "/v1/probe?limit=1")
    assert (answer.status_code, answer.content) == (200, b"")


def test_no_content__has_no_body_and_no_type(anonymous: ApiClient) -> None:
    answer = anonymous.delete("/v1/probe")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Content-Type" not in answer


@pytest.mark.parametrize("path", ["/v1/crash", "/crash"])
def test_crash__tells_nothing_but_the_request_id(
    anonymous: ApiClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = anonymous.get(path, x_request_id="find-me-12345")
    document = assert_problem(answer, 500, "internal_error")
    assert document["instance"] == "find-me-12345"
    assert b"secret" not in answer.content
    assert "secret detail" in caplog.text, "the log has what the answer hides"


def test_database_lost__unavailable_with_retry_after(anonymous: ApiClient) -> None:
    answer = anonymous.get("/v1/lost")
    assert_problem(answer, 503, "unavailable")
    assert answer["Retry-After"] == "2"
    assert b"hunter2" not in answer.content


def test_body__over_the_limit__too_large(anonymous: ApiClient, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 100
    assert_problem(anonymous.post("/v1/probe", {"name": "x" * 200}), 413, "body_too_large")


def test_body__two_gigabytes_declared__refused_before_reading(anonymous: ApiClient) -> None:
    declared: dict[str, Any] = {"CONTENT_LENGTH": str(2 << 30), "wsgi.input": io.BytesIO()}
    answer = anonymous.client.generic(
        "POST", "/v1/probe", b"", content_type="application/json", **declared
    )
    assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b'{"name": "\xff"}', 400, "invalid_encoding"),
        (b'{"name": "x", "name": "y"}', 400, "invalid_json"),
        (b'{"nom": "x"}', 400, "unknown_field"),
        (b'{"name": 1}', 400, "validation_failed"),
        (b'{"name": "' + b"x" * 21 + b'"}', 400, "validation_failed"),
    ],
)
def test_body__bad__clear_problem(
    anonymous: ApiClient, body: bytes, status: int, code: str
) -> None:
    answer = anonymous.call("POST", "/v1/probe", body, content_type="application/json")
    assert_problem(answer, status, code)


def test_query__bad__clear_problem(anonymous: ApiClient) -> None:
    assert_problem(anonymous.get("/v1/probe?limit=0"), 400, "validation_failed")
    assert_problem(anonymous.get("/v1/probe?page=2"), 400, "unknown_parameter")


def test_host_header__forged__refused(anonymous: ApiClient, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["game.example.com"]
    answer = anonymous.get("/docs/", host="evil.example.com")
    assert answer.status_code == 400
    assert b"evil.example.com" not in answer.content


def test_problem_page__each_code__is_explained(anonymous: ApiClient) -> None:
    for kind in all_problems():
        answer = anonymous.get(f"/problems/{kind.code}")
        assert answer.status_code == 200
        assert kind.code in answer.content.decode()
    assert_problem(anonymous.get("/problems/nothing"), 404, "not_found")


def test_problems_table__lists_every_code_with_a_meaning() -> None:
    table = problems_table()
    for kind in all_problems():
        assert f"| `{kind.code}` | {kind.status} |" in table
        assert kind.__doc__, f"{kind.__name__} needs a docstring: it is the documentation"
