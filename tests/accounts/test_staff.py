"""Staff accounts: commands, roles, signing in, the second factor."""

import io
import re
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from cryptography.hazmat.primitives import serialization
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts import tokens
from accounts.adapters import StaffMFAAdapter
from accounts.models import StaffUser
from accounts.roles import ADMINS, EVERYONE, may
from accounts.services import staff
from tests.factories.accounts import StaffUserFactory
from tests.fixtures.faults import redis_down

pytestmark = pytest.mark.django_db
PASSWORD = "a quiet lake at dawn"


@pytest.fixture
def robin() -> StaffUser:
    user: StaffUser = StaffUserFactory.create(username="robin", email="r@example.com")
    user.set_password(PASSWORD)
    user.save()
    return user


def log_in(client: Client, username: str = "robin", password: str = PASSWORD, **extra: str) -> Any:
    return client.post(
        "/accounts/login/?next=/admin/", {"login": username, "password": password, **extra}
    )


# --- commands and services -------------------------------------------------------------------


def test_create_staff__makes_a_login_once() -> None:
    out = io.StringIO()
    arguments = ("--username", "mo", "--email", "mo@example.com", "--role", "designer")
    call_command("create_staff", *arguments, stdout=out)
    password = re.search(r"Password: (\S+)", out.getvalue())
    assert password is not None
    user = StaffUser.objects.get(username="mo")
    assert user.check_password(password[1])
    assert (user.role, user.email, user.is_staff) == ("designer", "mo@example.com", True)
    assert user.is_superuser is False

    again = io.StringIO()
    call_command("create_staff", *arguments[:-1], "admin", stdout=again)
    user.refresh_from_db()
    assert user.check_password(password[1]), "the password stays"
    assert user.role == "admin"
    assert "Password" not in again.getvalue()

    call_command("create_staff", *arguments, "--password", PASSWORD, stdout=io.StringIO())
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_create_staff__unknown_role() -> None:
    with pytest.raises(CommandError):
        call_command("create_staff", "--username", "m", "--email", "m@x.org", "--role", "king")
    with pytest.raises(CommandError):
        call_command("create_staff", username="m", email="m@example.com", role="king")
    with pytest.raises(ValueError, match="king"):
        staff.create_or_update(username="m", email="m@example.com", role="king")


def test_make_token_key__makes_a_key_that_signs(settings: LazySettings) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("make_token_key", stdout=out, stderr=err)
    settings.ACCESS_TOKEN_KEYS = out.getvalue()
    (key,) = tokens.keys()
    assert key.kid in err.getvalue()
    assert (
        key.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        == out.getvalue().encode()
    )


def test_roles__who_may_what() -> None:
    roles = {"view": EVERYONE, "change": frozenset({"designer"})}
    designer = StaffUserFactory.build(role="designer")
    support = StaffUserFactory.build(role="support")
    assert may(designer, "change", roles)
    assert not may(support, "change", roles)
    assert may(support, "view", roles)
    assert not may(support, "delete", roles), "what is not named is for admins"
    assert may(StaffUserFactory.build(role="admin"), "delete", roles)
    assert may(designer, "view", {"view": ADMINS, "change": frozenset({"designer"})})
    for changes in ({"is_active": False}, {"is_staff": False}):
        assert not may(StaffUserFactory.build(role="admin", **changes), "view", roles)
    assert not may(object(), "view", roles)


def test_roles__django_permissions_are_for_admins() -> None:
    admin, support = StaffUserFactory.create(), StaffUserFactory.create(role="support")
    assert admin.has_perm("anything.at_all")
    assert admin.has_module_perms("store")
    assert not support.has_perm("anything.at_all")
    assert not support.has_module_perms("store")


# --- signing in ------------------------------------------------------------------------------


def test_log_in__with_name_and_password(client: Client, robin: StaffUser) -> None:
    assert client.get("/admin/")["Location"].startswith("/admin/login/")
    page = client.get("/admin/login/?next=/admin/", follow=True)
    assert page.redirect_chain[-1][0].startswith("/accounts/login/")
    assert b"Sign in" in page.content
    assert b"sign up" not in page.content.lower()
    answer = log_in(client)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


def test_log_in__wrong_password__is_refused(client: Client, robin: StaffUser) -> None:
    answer = log_in(client, password="wrong")
    assert answer.status_code == 200
    assert client.get("/admin/").status_code == 302


@pytest.mark.parametrize("is_down", [False, True])
def test_log_in__is_limited__without_redis_too(
    client: Client, robin: StaffUser, settings: LazySettings, is_down: bool
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"staff_sign_in": (3, 300)}

    def guess() -> None:
        for _ in range(3):
            log_in(client, password="wrong")
        answer = log_in(client)
        assert answer.status_code == 200
        assert b"The limit is 3" in answer.content

    if is_down:
        with redis_down():
            guess()
    else:
        guess()


def test_nobody_signs_up(client: Client) -> None:
    for name in ("account_signup", "account_reset_password", "account_email"):
        with pytest.raises(NoReverseMatch):
            reverse(name)
    for path in ("signup/", "password/reset/", "email/", ""):
        assert client.get(f"/accounts/{path}").status_code == 404


def test_who_is_no_staff__stays_out(client: Client, robin: StaffUser) -> None:
    StaffUser.objects.update(is_staff=False)
    client.force_login(robin)
    assert client.get("/admin/").status_code == 302
    assert client.get("/admin/login/").status_code == 403


# --- the second factor -----------------------------------------------------------------------


def code_for(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def enrol(client: Client) -> str:
    """Enrol in this session, as the pages ask; the secret."""
    page = client.get("/accounts/2fa/totp/activate/", follow=True)
    if b"Enter your password" in page.content:
        client.post(
            "/accounts/reauthenticate/?next=/accounts/2fa/totp/activate/", {"password": PASSWORD}
        )
        page = client.get("/accounts/2fa/totp/activate/")
    secret = str(page.context["form"].secret)
    answer = client.post("/accounts/2fa/totp/activate/", {"code": code_for(secret)})
    assert answer.status_code == 302, answer.content
    return secret


@pytest.mark.django_db(transaction=True)
def test_required__without_one__leads_to_enrolment(
    client: Client, robin: StaffUser, settings: LazySettings
) -> None:
    settings.STAFF_MFA_REQUIRED = True
    log_in(client)
    answer = client.get("/admin/")
    assert answer["Location"] == "/accounts/2fa/totp/activate/"
    enrol(client)
    assert client.get("/admin/").status_code == 200


def test_required__at_the_next_sign_in__asks_for_a_code(
    client: Client, robin: StaffUser, settings: LazySettings
) -> None:
    settings.STAFF_MFA_REQUIRED = True
    secret = "JBSWY3DPEHPK3PXP"
    TOTP.activate(robin, secret)
    assert log_in(client)["Location"].startswith("/accounts/2fa/authenticate/")
    assert client.get("/admin/").status_code == 302, "half signed in is not signed in"
    wrong = client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert wrong.status_code == 200
    right = client.post("/accounts/2fa/authenticate/", {"code": code_for(secret)})
    assert right.status_code == 302
    assert client.get("/admin/").status_code == 200


def test_required__of_a_session_from_before__asks_for_a_code(
    client: Client, robin: StaffUser, settings: LazySettings
) -> None:
    log_in(client)
    secret = "JBSWY3DPEHPK3PXP"
    TOTP.activate(robin, secret)
    settings.STAFF_MFA_REQUIRED = True
    answer = client.get("/admin/accounts/game/")
    expected = "/accounts/2fa/reauthenticate/?next=%2Fadmin%2Faccounts%2Fgame%2F"
    assert answer["Location"] == expected
    done = client.post(expected, {"code": code_for(secret), "next": "/admin/accounts/game/"})
    assert done["Location"] == "/admin/accounts/game/"
    assert client.get("/admin/accounts/game/").status_code == 200


def test_codes__are_limited(client: Client, robin: StaffUser, settings: LazySettings) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"second_factor": (2, 300)}
    secret = "JBSWY3DPEHPK3PXP"
    TOTP.activate(robin, secret)
    log_in(client)
    for _ in range(2):
        client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    answer = client.post("/accounts/2fa/authenticate/", {"code": code_for(secret)})
    assert answer.status_code == 200
    assert b"The limit is 2" in answer.content


def test_recovery_codes__enrolling_them_is_no_second_factor(
    client: Client, robin: StaffUser, settings: LazySettings
) -> None:
    settings.STAFF_MFA_REQUIRED = True
    log_in(client)
    Authenticator.objects.create(user=robin, type=Authenticator.Type.RECOVERY_CODES, data={})
    assert client.get("/admin/")["Location"] == "/accounts/2fa/totp/activate/"


def test_secrets__are_encrypted_and_outlive_a_new_secret_key(
    robin: StaffUser, settings: LazySettings
) -> None:
    secret = "JBSWY3DPEHPK3PXP"
    TOTP.activate(robin, secret)
    stored = str(Authenticator.objects.get().data)
    assert secret not in stored
    encrypted = StaffMFAAdapter().encrypt("x")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another" * 10
    assert StaffMFAAdapter().decrypt(encrypted) == "x"


@pytest.mark.parametrize(
    "path", ["2fa/", "2fa/totp/activate/", "reauthenticate/", "logout/", "2fa/recovery-codes/"]
)
def test_pages__look_like_the_admin(client: Client, robin: StaffUser, path: str) -> None:
    log_in(client)
    if "recovery" in path:
        enrol(client)
    page = client.get(f"/accounts/{path}", follow=True)
    assert page.status_code == 200
    assert b"unfold/css/styles.css" in page.content
    assert b"Evenkeel" in page.content
