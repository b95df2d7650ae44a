"""System checks of the plumbing: what would only be noticed under load, or in an attack."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.security)
def check_token_keys(**_: Any) -> list[CheckMessage]:
    """`ACCESS_TOKEN_KEYS` has at least one private key."""
    if "PRIVATE KEY" not in settings.ACCESS_TOKEN_KEYS:
        return [Error("ACCESS_TOKEN_KEYS has no private key", id="config.E001")]
    return []


@register(Tags.security)
def check_proxies(**_: Any) -> list[CheckMessage]:
    """`TRUSTED_PROXIES` are networks."""
    from config.middleware import TrustedProxies

    try:
        TrustedProxies(settings.TRUSTED_PROXIES)
    except ValueError as error:
        return [Error(f"TRUSTED_PROXIES: {error}", id="config.E002")]
    return []
