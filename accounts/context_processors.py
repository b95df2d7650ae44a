"""What every page of the back office needs."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest


def back_office(request: HttpRequest) -> dict[str, Any]:
    """allauth's pages look like the admin's: they get the admin site's context."""
    if not request.path_info.startswith("/accounts/"):
        return {}
    return admin.site.each_context(request)
