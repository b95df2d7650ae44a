"""What the store writes. Public to other apps:

grants.grant(*, game_id: UUID, player_id: UUID, currencies: Mapping[str, int],
             items: Mapping[str, int], key: str, reason: str, reference: str = "",
             overflow: "clip" | "refuse" = "clip") -> Grant
    Gives value once for `key`, for ever; joins the caller's transaction.

purchases.purchase(*, game_id, player_id, offer, quantity, expected_price, key, fingerprint)
    Buys an offer with virtual currency, in one transaction.

inventory.consume(*, game_id, player_id, item, quantity, key, fingerprint)
    Uses up a quantity of a consumable.

ledger.post(…)
    What all of them stand on; an app that needs another kind of movement adds one there.
"""
