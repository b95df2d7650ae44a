"""Addresses of accounts."""

from django.urls import path

from accounts import views

urlpatterns = [
    path(
        ".well-known/jwks.json",
        views.TokenKeyViewSet.as_view({"get": "list"}),
        name="jwks",
    ),
    path(
        "v1/sessions",
        views.SessionViewSet.as_view({"get": "list", "post": "create", "delete": "destroy_all"}),
        name="sessions",
    ),
    path("v1/sessions/refresh", views.SessionViewSet.as_view({"post": "refresh"})),
    path("v1/sessions/current", views.SessionViewSet.as_view({"delete": "destroy_current"})),
    path("v1/sessions/<uuid:session>", views.SessionViewSet.as_view({"delete": "destroy"})),
    path("v1/players", views.PlayerViewSet.as_view({"get": "list", "post": "create"})),
    path(
        "v1/players/me",
        views.OwnPlayerViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
    ),
    path(
        "v1/players/me/identities",
        views.IdentityViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "v1/players/me/identities/<uuid:identity>",
        views.IdentityViewSet.as_view({"delete": "destroy"}),
    ),
    path(
        "v1/players/<uuid:player>",
        views.PlayerViewSet.as_view({"get": "retrieve", "patch": "partial_update"}),
    ),
    path(
        "v1/players/<uuid:player>/sanctions",
        views.SanctionViewSet.as_view({"post": "create"}),
    ),
    path(
        "v1/players/<uuid:player>/sanctions/<uuid:sanction>",
        views.SanctionViewSet.as_view({"delete": "destroy"}),
    ),
]
