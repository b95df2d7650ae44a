"""What staff see of a player's value."""

import json
from collections.abc import Sequence

from django.urls import reverse
from django.utils.html import format_html

from accounts.backoffice import Panel
from accounts.models import Player
from store.balance_history import OF_PURCHASES
from store.explanations import of_order
from store.models import (
    Balance,
    Campaign,
    CodeBatch,
    Gift,
    Grant,
    Order,
    PlatformPurchase,
    Purchase,
    Redemption,
    Stack,
    Transaction,
)
from store.providers.money import major
from store.receipt_selectors import MANY_REFUNDS, refunds_of
from store.services.content import Difference

SHOWN = 10


def wallet_url(player: Player) -> str:
    return reverse("admin:store_wallet_change", args=[player.pk])


def wallet(player: Player) -> Panel:
    """Balances, for the player's page."""
    rows = Balance.objects.filter(player_id=player.pk).select_related("currency")
    return Panel(
        ("Currency", "Balance", "Paid", "Earned", "Changed"),
        [
            (
                explained(player, row.currency.key),
                row.paid + row.earned,
                row.paid,
                row.earned,
                row.updated_at,
            )
            for row in rows.order_by("currency_id")
        ],
        more_url=wallet_url(player),
        note="In debt: nothing can be spent until it is repaid."
        if any(row.in_debt for row in rows)
        else "",
    )


def inventory(player: Player) -> Panel:
    """Items, latest first, for the player's page."""
    rows = Stack.objects.filter(player_id=player.pk, quantity__gt=0).select_related("item")
    return Panel(
        ("Item", "Quantity", "Changed"),
        [
            (row.item.key, row.quantity, row.updated_at)
            for row in rows.order_by("-updated_at")[:SHOWN]
        ],
        more_url=wallet_url(player),
    )


def purchases(player: Player) -> Panel:
    """The latest purchases, for the player's page."""
    rows = Purchase.objects.filter(player_id=player.pk).select_related("offer", "gift")
    return Panel(
        ("When", "Offer", "Quantity", "Price", "Purchase"),
        [
            (
                row.created_at,
                f"{row.offer.key}, as a gift" if hasattr(row, "gift") else row.offer.key,
                row.quantity,
                amounts(row.price),
                link("store_purchase", row.pk, short=True),
            )
            for row in rows.order_by("-id")[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_purchase_changelist')}?q={player.pk}",
    )


def gifts(player: Player) -> Panel:
    """The latest gifts that a player has received and given, for the player's page."""
    received = Gift.objects.filter(recipient=player).select_related("sender")
    sent = Gift.objects.filter(sender=player).select_related("recipient")
    rows = [(row, "from", row.sender) for row in received.order_by("-created_at", "-id")[:SHOWN]]
    rows += [(row, "to", row.recipient) for row in sent.order_by("-created_at", "-id")[:SHOWN]]
    rows.sort(key=lambda row: row[0].created_at, reverse=True)
    return Panel(
        ("When", "What", "From or to", "Player", "Gift"),
        [
            (
                row.created_at,
                amounts(row.currencies | row.items),
                way,
                link("accounts_player", other.pk, text=str(other)),
                link("store_gift", row.pk, short=True),
            )
            for row, way, other in rows
        ],
        more_url=f"{reverse('admin:store_gift_changelist')}?q={player.pk}",
    )


def gift_of(purchase: Purchase) -> Panel | None:
    """What a purchase gave a friend, for the purchase's page; None where it was no gift."""
    row = Gift.objects.filter(purchase=purchase).select_related("recipient").first()
    if row is None:
        return None
    return Panel(
        ("When", "What", "To", "Gift", "Transaction"),
        [
            (
                row.created_at,
                amounts(row.currencies | row.items),
                link("accounts_player", row.recipient_id, text=str(row.recipient)),
                link("store_gift", row.pk, short=True),
                link("store_transaction", row.pk, short=True),
            )
        ],
    )


def platform_purchases(player: Player) -> Panel:
    """The latest purchases in platforms' stores, for the player's page."""
    rows = PlatformPurchase.objects.filter(player_id=player.pk).select_related("offer")
    refunds = refunds_of(player_id=player.pk)
    return Panel(
        ("When", "Product", "Price", "State", "Platform", "Purchase"),
        [
            (
                row.purchased_at or row.created_at,
                row.product,
                money(row.price_minor_units, row.price_currency),
                row.get_state_display(),
                row.provider + (" sandbox" if row.environment == "sandbox" else ""),
                link("store_platformpurchase", row.pk, short=True),
            )
            for row in rows.order_by("-id")[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_platformpurchase_changelist')}?q={player.pk}",
        note=f"Had money back {refunds} times." if refunds >= MANY_REFUNDS else "",
    )


def money(minor_units: int | None, currency: str) -> str:
    """`1,234.50 EUR`; "" where the platform did not tell."""
    return "" if minor_units is None else f"{major(minor_units, currency):,} {currency}"


def grants(player: Player) -> Panel:
    """The latest grants, for the player's page."""
    rows = Grant.objects.filter(player_id=player.pk).order_by("-id")
    return Panel(
        ("When", "What", "Reason", "By", "Grant"),
        [
            (
                row.created_at,
                amounts(row.currencies | row.items),
                row.reason,
                row.actor or row.source,
                link("store_grant", row.pk, short=True),
            )
            for row in rows[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_grant_changelist')}?q={player.pk}",
    )


def redemptions(player: Player) -> Panel:
    """The latest promotion codes, for the player's page."""
    rows = Redemption.objects.filter(player_id=player.pk).select_related("campaign", "code")
    return Panel(
        ("When", "Campaign", "Code", "Grant"),
        [
            (row.created_at, row.campaign, row.code, link("store_grant", row.pk, short=True))
            for row in rows.order_by("-id")[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_redemption_changelist')}?q={player.pk}",
    )


def batches(campaign: Campaign) -> Panel:
    """The latest batches of generated codes, for the campaign's page."""
    rows = CodeBatch.objects.filter(campaign=campaign).select_related("author").order_by("-id")
    return Panel(
        ("When", "Note", "Codes", "Made", "By", "Batch"),
        [
            (
                row.created_at,
                row.note,
                row.count,
                row.made,
                row.author.get_username(),
                link("store_codebatch", row.pk, short=True),
            )
            for row in rows[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_codebatch_changelist')}?campaign__id__exact={campaign.pk}",
    )


def redeemed(campaign: Campaign) -> Panel:
    """The latest redemptions, for the campaign's page."""
    rows = Redemption.objects.filter(campaign=campaign).select_related("player", "code")
    url = reverse("admin:store_redemption_changelist")
    return Panel(
        ("When", "Player", "Code", "Redemption"),
        [
            (row.created_at, row.player, row.code, link("store_redemption", row.pk, short=True))
            for row in rows.order_by("-id")[:SHOWN]
        ],
        more_url=f"{url}?campaign__id__exact={campaign.pk}",
    )


def explained(player: Player, currency: str) -> str:
    """A currency's key that leads to the page of all of its postings."""
    if not currency:
        return ""
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>',
        reverse("admin:store_explain", args=[player.pk, currency]),
        currency,
    )


def differences(found: Sequence[Difference]) -> Panel:
    """What publishing drafts will change."""
    return Panel(
        ("What", "Key", "Field", "Now", "Then"),
        [
            (one.kind, one.key, one.field, _written(one.before), _written(one.after))
            for one in found
        ],
    )


def about(row: Transaction) -> Panel:
    """What made a transaction, where it has a page of its own: the key or the id says."""
    rows: list[tuple[str, str, object]] = []
    if row.reason in OF_PURCHASES:
        rows.append(("Purchase with real money", "store_platformpurchase", row.key.split(":")[1]))
    elif row.kind == Transaction.Kind.PURCHASE and Purchase.objects.filter(pk=row.pk).exists():
        rows.append(("Purchase", "store_purchase", row.pk))
    elif row.kind == Transaction.Kind.GIFT and Gift.objects.filter(pk=row.pk).exists():
        rows.append(("Gift", "store_gift", row.pk))
    elif row.kind == Transaction.Kind.GRANT and Grant.objects.filter(pk=row.pk).exists():
        rows.append(("Grant", "store_grant", row.pk))
    rows.append(("Wallet", "store_wallet", row.player_id))
    return Panel(("What", "Page"), [(what, link(page, key)) for what, page, key in rows])


def orders(player: Player) -> Panel:
    """The latest receipts, for the player's page: also those that nothing came of."""
    rows = Order.objects.filter(player_id=player.pk).defer("data").order_by("-id")
    return Panel(
        ("When", "Product", "Where it is", "Order"),
        [
            (
                row.created_at,
                row.product,
                of_order(row).text,
                link("store_order", row.pk, short=True),
            )
            for row in rows[:SHOWN]
        ],
        more_url=f"{reverse('admin:store_order_changelist')}?q={player.pk}",
    )


def _written(value: object) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cause(kind: str, reason: str, reference: str) -> str:
    """`purchase · koi`, `grant · achievement · green_thumb`."""
    parts = (kind if kind == Transaction.Kind.GRANT else "", reason, reference)
    return " · ".join(filter(None, parts))


def amounts(values: dict[str, int]) -> str:
    """`50 petals, 1 koi`."""
    return ", ".join(f"{amount:,} {key}" for key, amount in values.items())


def link(model: str, pk: object, *, short: bool = False, text: str = "") -> str:
    """A link to the row; `short` shows the end of its id, which is what differs."""
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}" title="{}">{}</a>',
        reverse(f"admin:{model}_change", args=[pk]),
        pk,
        text or (f"…{str(pk)[-6:]}" if short else pk),
    )
