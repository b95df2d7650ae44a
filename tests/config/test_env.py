"""The typed environment, and that production refuses to start when it is unsafe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.settings.env import Environment

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
KEY = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----"""
SAFE = {
    "DJANGO_ENV": "production",
    "SECRET_KEY": "k3yk3y-0123456789-abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJ",
    "ACCESS_TOKEN_KEYS": KEY,
    "DATABASE_URL": "postgres://evenkeel:x@127.0.0.1:5432/evenkeel",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "CELERY_BROKER_URL": "redis://127.0.0.1:6379/1",
    "ALLOWED_HOSTS": "game.example.com",
    "PUBLIC_URL": "https://game.example.com",
}


def test_environment__file_variable__is_read_and_stripped(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    env = Environment({"TOKEN_FILE": str(secret)})
    assert env.text("TOKEN", doc="a token", secret=True) == "from a file"
    env.refuse_problems()


def test_environment__several_mistakes__are_all_named_at_once() -> None:
    env = Environment({"A": "many", "B": "perhaps", "C": "5", "D_FILE": "/does/not/exist"})
    env.number("A", 1, doc="a number")
    env.flag("B", False, doc="a flag")
    env.rate("C", "1/60", doc="a rate")
    env.text("D", doc="a secret")
    env.text("E", doc="something needed", required=True)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.refuse_problems()
    for name in ("A is not valid", "B is not valid", "C is not valid", "D_FILE", "E is not set"):
        assert name in str(caught.value)


def test_environment__values__are_typed() -> None:
    env = Environment({"N": "5", "F": "yes", "G": "off", "L": "a, b,", "R": "10/60"})
    assert env.number("N", 1, doc="") == 5
    assert env.flag("F", False, doc="") is True
    assert env.flag("G", True, doc="") is False
    assert env.names("L", [], doc="") == ["a", "b"]
    assert env.rate("R", "1/1", doc="") == (10, 60)
    assert env.rate("MISSING", "3/7", doc="") == (3, 7)


def start(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Import the settings in a process that has this environment and nothing else."""
    return subprocess.run(
        [sys.executable, "-c", "import django; django.setup()"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "config.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_production__safe_environment__starts() -> None:
    result = start(SAFE)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("missing", [name for name in SAFE if name != "DJANGO_ENV"])
def test_production__something_missing__refuses_and_names_it(missing: str) -> None:
    result = start({name: value for name, value in SAFE.items() if name != missing})
    assert result.returncode != 0
    assert f"{missing} is not set" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "a" * 60),
        ("ALLOWED_HOSTS", "*"),
        ("PUBLIC_URL", "http://game.example.com"),
        ("DEBUG", "true"),
        ("CORS_ALLOWED_ORIGINS", "*"),
        ("METRICS_TOKEN", "short"),
        ("WEB_THREADS", "many"),
    ],
)
def test_production__something_unsafe__refuses_and_names_it(name: str, value: str) -> None:
    result = start(SAFE | {name: value})
    assert result.returncode != 0
    assert name in result.stderr
    assert "not safe to start" in result.stderr
    if len(value) > 8:
        assert value not in result.stderr, "a message must not repeat a secret"


def test_settings__unknown_environment__refused() -> None:
    result = start({"DJANGO_ENV": "prod"})
    assert result.returncode != 0
    assert "development, test or production" in result.stderr
