"""Which platforms' stores there are. Each is made when it is first needed: their libraries are
large, and most processes need none of them."""

from functools import cache
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from store.providers.base import Provider

PROVIDERS = {
    "apple": "store.providers.apple.AppleProvider",
    "google": "store.providers.google.GoogleProvider",
    "sandbox": "store.providers.sandbox.SandboxProvider",
}
# `Store` of a Unity IAP receipt → provider. `fake` is Unity's editor, which sells nothing.
UNITY_STORES = {"AppleAppStore": "apple", "MacAppStore": "apple", "GooglePlay": "google"}


class UnknownProvider(LookupError):  # noqa: N818 (a fact, not a mistake of ours)
    """There is no provider of this name."""


def exists(name: str) -> bool:
    """Whether there is such a platform here. Where money is real, the sandbox is none."""
    return name in PROVIDERS and (name != "sandbox" or settings.STORE_SANDBOX)


def provider(name: str) -> Provider:
    """The one instance of a provider in this process. Raises `UnknownProvider`."""
    if not exists(name):
        raise UnknownProvider(name)
    return _made(name)


@cache
def _made(name: str) -> Provider:
    made: Any = import_string(PROVIDERS[name])
    instance: Provider = made()
    return instance
