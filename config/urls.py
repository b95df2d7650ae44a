"""All addresses. Each app's urls.py lists its own under /v1/."""

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from config import health
from config.api import problem_pages
from config.api.problems import BadRequest, Forbidden, InternalError, NotFound, respond


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return respond(NotFound("There is nothing at this address"), request)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return respond(BadRequest(), request)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return respond(Forbidden(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    return respond(InternalError(), request)


handler400, handler403, handler404, handler500 = (bad_request, forbidden, not_found, server_error)

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("problems/<slug:code>", problem_pages.problem_page, name="problem"),
    path("v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("accounts.urls")),
    path("", include("analytics.urls")),
    path("", include("store.urls")),
    path("", include("progress.urls")),
    path("", include("leaderboards.urls")),
    re_path(r"^v\d+/.*$", not_found),
    path("admin/", admin.site.urls),
    path("", lambda request: redirect("docs"), name="home"),
]
if not settings.PRODUCTION:
    # `make run` has no proxy in front, and Django itself serves static files only under DEBUG.
    urlpatterns.append(re_path(r"^static/(?P<path>.*)$", serve, {"insecure": True}))
