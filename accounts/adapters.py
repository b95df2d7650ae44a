"""How allauth serves staff. Players have nothing to do with it."""

import base64
import hashlib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from config.api import gate
from config.api.problems import RateLimited


def count(limit: str, who: str) -> None:
    """Count against a limit of the gate. Raises `ValidationError`, for the form to show."""
    try:
        gate.take(limit, who)
    except RateLimited as error:
        raise ValidationError(error.detail) from None


class StaffAccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Staff accounts are made by staff: nobody signs up."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Counts each attempt, by address and by name, also while Redis is away."""
        name = str(credentials.get("username", "")).casefold()
        hashed = hashlib.sha256(name.encode()).hexdigest()[:32]
        count("staff_sign_in", f"staff:{getattr(request, 'client_ip', '')}")
        count("staff_sign_in", f"staff:{hashed}")

    def get_client_ip(self, request: HttpRequest) -> str:
        """As the plumbing found it, through trusted proxies only."""
        return str(getattr(request, "client_ip", ""))


class StaffMFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """Keeps TOTP secrets and recovery seeds encrypted with a key derived from `SECRET_KEY`."""

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _fernet().decrypt(encrypted_text.encode()).decode()


def _fernet() -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_key(secret)) for secret in secrets])


def _key(secret: str) -> bytes:
    digest = hashlib.sha256(b"evenkeel second factors 1" + secret.encode()).digest()
    return base64.urlsafe_b64encode(digest)
