"""Addresses of analytics."""

from django.urls import URLPattern, path

from analytics.views import EventViewSet, MetricViewSet

urlpatterns: list[URLPattern] = [
    path("v1/events", EventViewSet.as_view({"post": "create"})),
    path("v1/analytics/metrics", MetricViewSet.as_view({"get": "retrieve"})),
]
