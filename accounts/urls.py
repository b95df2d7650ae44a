"""Addresses of accounts."""

from allauth.account import views as staff_views
from django.urls import include, path

from accounts import friend_views, merge_views, views

# Of allauth only what staff need: there is no sign-up, and no password reset by mail.
staff = [
    path("login/", staff_views.login, name="account_login"),
    path("logout/", staff_views.logout, name="account_logout"),
    path("inactive/", staff_views.account_inactive, name="account_inactive"),
    path("reauthenticate/", staff_views.reauthenticate, name="account_reauthenticate"),
    path("2fa/", include("allauth.mfa.urls")),
]

urlpatterns = [
    path("accounts/", include(staff)),
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
    path("v1/players/me/merges", merge_views.MergeViewSet.as_view({"post": "create"})),
    path(
        "v1/friends",
        friend_views.FriendViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "v1/friends/requests",
        friend_views.FriendRequestViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "v1/friends/requests/<uuid:player>",
        friend_views.FriendRequestViewSet.as_view({"delete": "destroy"}),
    ),
    path(
        "v1/friends/code",
        friend_views.FriendCodeViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
    ),
    path(
        "v1/friends/<uuid:player>",
        friend_views.FriendViewSet.as_view({"delete": "destroy"}),
    ),
    path(
        "v1/blocks",
        friend_views.BlockViewSet.as_view({"get": "list", "post": "create"}),
    ),
    path(
        "v1/blocks/<uuid:player>",
        friend_views.BlockViewSet.as_view({"delete": "destroy"}),
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
