"""The back office of the store: the catalogue, wallets, and the ledger with its causes."""

from store.admin import (
    approvals,
    campaigns,
    catalogue,
    codes,
    conflicts,
    exports,
    purchases,
    receipts,
    subscriptions,
    wallets,
)

__all__ = [
    "approvals",
    "campaigns",
    "catalogue",
    "codes",
    "conflicts",
    "exports",
    "purchases",
    "receipts",
    "subscriptions",
    "wallets",
]
