"""The system checks of what Apple's word depends on."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.checks import CheckMessage
from django.test import override_settings

from store.providers.apple_checks import check_apple_addresses, check_apple_roots
from tests.fakes.apple_ca import Authority, Tier


def ids(messages: list[CheckMessage]) -> list[str | None]:
    return [message.id for message in messages]


def saved(folder: Path, tier: Tier, encoding: Encoding = Encoding.PEM) -> str:
    path = folder / f"{tier.certificate.serial_number}.cer"
    path.write_bytes(tier.certificate.public_bytes(encoding))
    return str(path)


@pytest.mark.parametrize("production", [False, True])
def test_apples_own_root_is_enough(production: bool) -> None:
    with override_settings(PRODUCTION=production, APPLE_ROOT_CERTIFICATES=[]):
        assert check_apple_roots() == []
        assert check_apple_addresses() == []


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_root_of_ones_own_is_for_tests_only(tmp_path: Path, encoding: Encoding) -> None:
    root = saved(tmp_path, Authority("http://127.0.0.1/").root, encoding)
    with override_settings(APPLE_ROOT_CERTIFICATES=[root]):
        assert check_apple_roots() == []
        with override_settings(PRODUCTION=True):
            assert ids(check_apple_roots()) == ["store.E104"]


def test_what_is_no_root(tmp_path: Path) -> None:
    authority = Authority("http://127.0.0.1/")
    expired = authority.new_leaf(valid_for=-timedelta(days=1))
    words = tmp_path / "words.pem"
    words.write_text("-----BEGIN nothing")
    for path, expected in (
        (saved(tmp_path, authority.intermediate), ["store.E103"]),
        (saved(tmp_path, expired), ["store.E102", "store.E103"]),
        (str(words), ["store.E101"]),
        (str(tmp_path / "nowhere.cer"), ["store.E101"]),
        (str(tmp_path), ["store.E101"]),
    ):
        with override_settings(APPLE_ROOT_CERTIFICATES=[path]):
            assert ids(check_apple_roots()) == expected


def test_in_production_apple_is_asked_over_https() -> None:
    with override_settings(APPLE_STORE_URL="http://127.0.0.1:1", APPLE_SANDBOX_URL=""):
        assert check_apple_addresses() == []
        with override_settings(PRODUCTION=True):
            assert ids(check_apple_addresses()) == ["store.E105", "store.E105"]
