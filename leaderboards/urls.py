"""Addresses of leaderboards."""

from django.urls import path

import config.api.routing  # noqa: F401 (registers the converters)
from leaderboards.views import BoardViewSet, EntryViewSet, ScoreViewSet

urlpatterns = [
    path("v1/leaderboards", BoardViewSet.as_view({"get": "list"})),
    path("v1/leaderboards/<key:board>", BoardViewSet.as_view({"get": "retrieve"})),
    path("v1/leaderboards/<key:board>/seasons", BoardViewSet.as_view({"get": "seasons"})),
    path("v1/leaderboards/<key:board>/scores", ScoreViewSet.as_view({"post": "create"})),
    path("v1/leaderboards/<key:board>/entries", EntryViewSet.as_view({"get": "list"})),
    path("v1/leaderboards/<key:board>/entries/me", EntryViewSet.as_view({"get": "me"})),
    path(
        "v1/leaderboards/<key:board>/entries/<uuid:player>",
        EntryViewSet.as_view({"delete": "destroy"}),
    ),
]
