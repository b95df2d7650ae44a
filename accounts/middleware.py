"""The second factor of staff."""

from collections.abc import Callable
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.http import urlencode

# Set in the session in which someone enrolled: that needed a valid code too.
ENROLLED = "second_factor_enrolled"
FREE = ("/admin/logout/", "/admin/jsi18n/", "/admin/login/")


class StaffSecondFactorMiddleware:
    """Lets nobody into the admin without a second factor, where one is required.

    Who has none is sent to enrol; who has one, but signed in without it (before it was
    required), is asked for a code.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if (
            settings.STAFF_MFA_REQUIRED
            and path.startswith("/admin")
            and path not in FREE
            and request.user.is_authenticated
        ):
            if not is_mfa_enabled(request.user, [Authenticator.Type.TOTP]):
                return HttpResponseRedirect(reverse("mfa_activate_totp"))
            if not has_shown_second_factor(request):
                query = urlencode({REDIRECT_FIELD_NAME: request.get_full_path()})
                return HttpResponseRedirect(f"{reverse('mfa_reauthenticate')}?{query}")
        return self.get_response(request)


def has_shown_second_factor(request: HttpRequest) -> bool:
    """Whether a code was entered in this session, at sign-in, enrolment or since."""
    if request.session.get(ENROLLED):
        return True
    records = get_authentication_records(request, request.user)
    return any(record.get("method") == "mfa" for record in records)


def note_enrolment(
    sender: Any, request: HttpRequest, authenticator: Authenticator, **_: Any
) -> None:
    """Receives allauth's `authenticator_added`."""
    if authenticator.type == Authenticator.Type.TOTP:
        request.session[ENROLLED] = True
