"""Addresses of progress."""

from django.urls import path

import config.api.routing as routing
from progress.views import (
    AchievementViewSet,
    PlayerSaveViewSet,
    PlayerStatViewSet,
    SaveVersionViewSet,
    SaveViewSet,
    StatViewSet,
)

_ = routing  # registers the converters

urlpatterns = [
    path("v1/saves", SaveViewSet.as_view({"get": "list"})),
    path(
        "v1/saves/<key:slot>",
        SaveViewSet.as_view({"get": "retrieve", "put": "update", "delete": "destroy"}),
    ),
    path("v1/saves/<key:slot>/versions", SaveVersionViewSet.as_view({"get": "list"})),
    path(
        "v1/saves/<key:slot>/versions/<int:number>",
        SaveVersionViewSet.as_view({"get": "retrieve"}),
    ),
    path(
        "v1/saves/<key:slot>/versions/<int:number>/restore",
        SaveVersionViewSet.as_view({"post": "restore"}),
    ),
    path(
        "v1/players/<uuid:player>/saves/<key:slot>",
        PlayerSaveViewSet.as_view({"get": "retrieve", "put": "update"}),
    ),
    path("v1/stats", StatViewSet.as_view({"get": "list", "post": "create"})),
    path("v1/players/<uuid:player>/stats", PlayerStatViewSet.as_view({"post": "create"})),
    path("v1/achievements", AchievementViewSet.as_view({"get": "list"})),
    path("v1/achievements/<key:key>/progress", AchievementViewSet.as_view({"post": "report"})),
]
