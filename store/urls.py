"""Addresses of store."""

from django.urls import path

import config.api.routing
from store.views import (
    GrantViewSet,
    InventoryViewSet,
    OfferViewSet,
    PurchaseViewSet,
    WalletViewSet,
)

_ = config.api.routing  # its converters

urlpatterns = [
    path("v1/store/offers", OfferViewSet.as_view({"get": "list"})),
    path("v1/store/wallet", WalletViewSet.as_view({"get": "retrieve"})),
    path("v1/store/wallet/transactions", WalletViewSet.as_view({"get": "movements"})),
    path("v1/store/inventory", InventoryViewSet.as_view({"get": "list"})),
    path("v1/store/inventory/<key:item>/consume", InventoryViewSet.as_view({"post": "consume"})),
    path("v1/store/purchases", PurchaseViewSet.as_view({"post": "create"})),
    path("v1/players/<uuid:player>/grants", GrantViewSet.as_view({"post": "create"})),
]
