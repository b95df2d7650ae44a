"""Addresses of store."""

from django.urls import path

import config.api.routing
from store.receipt_views import (
    AccountTokenViewSet,
    NotificationViewSet,
    OrderViewSet,
    ReceiptViewSet,
)
from store.subscription_views import RestorationViewSet, SubscriptionViewSet
from store.views import (
    GiftViewSet,
    GrantViewSet,
    InventoryViewSet,
    ItemViewSet,
    OfferViewSet,
    PurchaseViewSet,
    RedemptionViewSet,
    WalletViewSet,
)

_ = config.api.routing  # its converters

urlpatterns = [
    path("v1/store/offers", OfferViewSet.as_view({"get": "list"})),
    path("v1/store/items", ItemViewSet.as_view({"get": "list"})),
    path("v1/store/wallet", WalletViewSet.as_view({"get": "retrieve"})),
    path("v1/store/wallet/transactions", WalletViewSet.as_view({"get": "movements"})),
    path("v1/store/inventory", InventoryViewSet.as_view({"get": "list"})),
    path("v1/store/inventory/<key:item>/consume", InventoryViewSet.as_view({"post": "consume"})),
    path("v1/store/purchases", PurchaseViewSet.as_view({"post": "create"})),
    path("v1/store/gifts", GiftViewSet.as_view({"get": "list"})),
    path("v1/store/receipts", ReceiptViewSet.as_view({"post": "create"})),
    path("v1/store/orders", OrderViewSet.as_view({"get": "list"})),
    path("v1/store/orders/<uuid:order>", OrderViewSet.as_view({"get": "retrieve"})),
    path("v1/store/subscriptions", SubscriptionViewSet.as_view({"get": "list"})),
    path("v1/store/restorations", RestorationViewSet.as_view({"post": "create"})),
    path("v1/store/account-token", AccountTokenViewSet.as_view({"get": "retrieve"})),
    path("v1/store/notifications/<key:provider>", NotificationViewSet.as_view({"post": "create"})),
    path("v1/store/redemptions", RedemptionViewSet.as_view({"post": "create"})),
    path("v1/players/<uuid:player>/grants", GrantViewSet.as_view({"post": "create"})),
]
