"""Whose word on the client's address is taken, and what goes into the log."""

import json
import logging
from typing import Any

import pytest
import structlog
from django.test import Client

from config import checks, logs
from config.metrics import REQUESTS
from config.middleware import TrustedProxies, accepts_gzip


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "garbage", "10.0.0.1"),
        ("10.0.0.1", "garbage, 198.51.100.7", "198.51.100.7"),
        ("203.0.113.50", "198.51.100.7", "203.0.113.50"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("", "198.51.100.7", ""),
    ],
)
def test_client_ip__forwarded_header__counts_only_from_trusted_proxies(
    remote: str, forwarded: str, expected: str
) -> None:
    meta = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded}
    assert TrustedProxies(["10.0.0.0/8"]).client_ip(meta) == expected


def test_client_ip__untrusted_sender__its_scheme_header_is_dropped() -> None:
    meta = {"REMOTE_ADDR": "203.0.113.50", "HTTP_X_FORWARDED_PROTO": "https"}
    TrustedProxies(["10.0.0.0/8"]).client_ip(meta)
    assert "HTTP_X_FORWARDED_PROTO" not in meta
    meta = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"}
    TrustedProxies(["10.0.0.0/8"]).client_ip(meta)
    assert meta["HTTP_X_FORWARDED_PROTO"] == "https"


@pytest.mark.parametrize(
    ("header", "expected"),
    [("gzip", True), ("*", True), ("gzip;q=0", False), ("GZIP; q=1", True), ("br", False)],
)
def test_accepts_gzip__weights__respected(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected


def test_log_line__json__has_ids_and_no_personal_data(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.LOG_FORMAT = "json"
    try:
        logs.configure()
        structlog.contextvars.bind_contextvars(request_id="r-1", game="g-1", player="p-1")
        structlog.get_logger("test").warning("signed_in", email="a@example.com", password="x")
        logging.getLogger("library").warning("plain line")
    finally:
        structlog.contextvars.clear_contextvars()
        settings.LOG_FORMAT = "console"
        logs.configure()
    own, library = (json.loads(line) for line in capsys.readouterr().err.strip().splitlines())
    assert own["event"] == "signed_in"
    assert (own["request_id"], own["game"], own["player"]) == ("r-1", "g-1", "p-1")
    assert own["email"] == own["password"] == "[removed]"
    assert library["event"] == "plain line"
    assert library["request_id"] == "r-1"


def test_checks__bad_settings__named(settings: Any) -> None:
    assert checks.check_token_keys() == checks.check_proxies() == []
    settings.ACCESS_TOKEN_KEYS = "nothing"
    settings.TRUSTED_PROXIES = ["not a network"]
    assert [m.id for m in checks.check_token_keys()] == ["config.E001"]
    assert [m.id for m in checks.check_proxies()] == ["config.E002"]


@pytest.mark.parametrize("path", ["/v1/players/me", "/healthz", "/admin/login/"])
def test_https__in_production__is_enforced_everywhere(path: str, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_HSTS_SECONDS = 60
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    settings.SECURE_HSTS_PRELOAD = False
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]

    plain = Client().get(path)
    assert (plain.status_code, plain["Location"]) == (301, f"https://testserver{path}")

    answer = Client().get(path, headers={"X-Forwarded-Proto": "https"})
    assert answer.status_code != 301
    assert answer["Strict-Transport-Security"] == "max-age=60; includeSubDomains"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_metrics__made_up_methods__are_one_series() -> None:
    def series() -> set[str]:
        return {
            sample.labels["method"] for metric in REQUESTS.collect() for sample in metric.samples
        }

    for word in ("FROBNICATE", "TRANSMOGRIFY"):
        Client().generic(word, "/healthz")
    assert "other" in series()
    assert not {"FROBNICATE", "TRANSMOGRIFY"} & series()
