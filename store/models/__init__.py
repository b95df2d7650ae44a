"""The store's tables, by what they are about."""

from store.models.approvals import GrantRequest, GrantThreshold
from store.models.catalogue import (
    INT64_MAX,
    MAX_STACK,
    Currency,
    Item,
    Offer,
    OfferUse,
    Storefront,
)
from store.models.codes import (
    MAX_WORD,
    Campaign,
    CampaignUse,
    Code,
    CodeBatch,
    CodeKey,
    Redemption,
)
from store.models.exports import Export, ExportPart
from store.models.ledger import (
    GUARD_ENTRIES,
    REFUSE_TRUNCATE,
    Account,
    Balance,
    Entry,
    Stack,
    StackMovement,
    Transaction,
    Wallet,
)
from store.models.movements import Gift, Grant, Purchase
from store.models.orders import Order, OwnerConflict, PlatformPurchase, PurchaseStep
from store.models.platforms import AccountToken, PlatformApp, PlatformNotice, Watermark
from store.models.subscriptions import Subscription

__all__ = [
    "GUARD_ENTRIES",
    "INT64_MAX",
    "MAX_STACK",
    "MAX_WORD",
    "REFUSE_TRUNCATE",
    "Account",
    "AccountToken",
    "Balance",
    "Campaign",
    "CampaignUse",
    "Code",
    "CodeBatch",
    "CodeKey",
    "Currency",
    "Entry",
    "Export",
    "ExportPart",
    "Gift",
    "Grant",
    "GrantRequest",
    "GrantThreshold",
    "Item",
    "Offer",
    "OfferUse",
    "Order",
    "OwnerConflict",
    "PlatformApp",
    "PlatformNotice",
    "PlatformPurchase",
    "Purchase",
    "PurchaseStep",
    "Redemption",
    "Stack",
    "StackMovement",
    "Storefront",
    "Subscription",
    "Transaction",
    "Wallet",
    "Watermark",
]
