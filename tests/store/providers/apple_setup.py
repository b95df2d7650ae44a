"""A fake App Store that the settings point to, and what the provider needs to speak with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from django.test import override_settings

from store.providers.base import App
from tests.fakes.app_store import AppStore


@contextmanager
def app_store_at(folder: Path) -> Iterator[AppStore]:
    """Within: it serves, it is what the settings name, and its root is the one that is trusted."""
    with AppStore() as store:
        root = folder / "root.pem"
        root.write_bytes(store.authority.root.certificate.public_bytes(Encoding.PEM))
        with override_settings(
            APPLE_STORE_URL=f"{store.url}/production",
            APPLE_SANDBOX_URL=f"{store.url}/sandbox",
            APPLE_ROOT_CERTIFICATES=[str(root)],
        ):
            yield store


def app_of(store: AppStore, **options: object) -> App:
    return App(store.bundle_id, store.options | options, store.secret)
