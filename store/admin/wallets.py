"""Wallets, the ledger, and why value moved."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.backoffice import (
    BigTableAdmin,
    Panel,
    PanelsMixin,
    PlayerSearchMixin,
    audit,
)
from accounts.confirmation import Confirmation, confirm
from accounts.models import Game, Player, StaffUser
from accounts.roles import EVERYONE, HELPERS, Roles, may
from accounts.selectors import find_players
from config.db.ids import uuid7
from store import panels, wallet_panels
from store.admin.explaining import ExplainView
from store.catalogue import catalogue
from store.models import (
    Entry,
    Gift,
    Grant,
    GrantRequest,
    Purchase,
    StackMovement,
    Transaction,
    Wallet,
)
from store.services import approvals


class GrantForm(forms.Form):
    """What to give, and why. `token` makes a form that is sent twice give once."""

    currency = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    amount = forms.IntegerField(
        required=False, min_value=1, max_value=2**63 - 1, widget=UnfoldAdminIntegerFieldWidget
    )
    item = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    quantity = forms.IntegerField(
        required=False, min_value=1, max_value=1_000_000, widget=UnfoldAdminIntegerFieldWidget
    )
    reason = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="The player sees it in the ledger.",
    )
    token = forms.UUIDField(initial=uuid7, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        for what, how_many in (("currency", "amount"), ("item", "quantity")):
            if bool(values.get(what)) != bool(values.get(how_many)) and not self.errors:
                self.add_error(how_many, f"Give both, {what} and {how_many}, or neither.")
        if not (values.get("currency") or values.get("item")):
            self.add_error(None, "Choose a currency or an item.")
        return values


def grant_form(game_id: UUID) -> type[GrantForm]:
    """The form with the game's active content to choose from."""
    content = catalogue(game_id)

    class Form(GrantForm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for name, rows in (("currency", content.currencies), ("item", content.items)):
                field = self.fields[name]
                if isinstance(field, forms.ChoiceField):
                    active = [(row.key, row.key) for row in rows.values() if row.is_active]
                    field.choices = [("", "–"), *active]

    return Form


@admin.register(Wallet)
class WalletAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    """What a player owns, and how each balance came about."""

    roles: ClassVar[Roles] = {"view": EVERYONE, "grant": HELPERS}
    player_field = "pk"
    list_display = ("name", "game", "created_at", "last_seen_at")
    list_filter = ("game",)
    list_select_related = ("game",)
    fields = ("name", "id", "game")
    readonly_fields = fields
    actions_detail = ("grant",)

    def get_urls(self) -> list[URLPattern]:
        explain: Any = self.admin_site.admin_view(ExplainView.as_view(model_admin=self))
        address = "<uuid:player_id>/explain/<str:currency>/"
        return [path(address, explain, name="store_explain"), *super().get_urls()]

    @display(description="Player")
    def name(self, player: Player) -> str:
        return str(player)

    def panels_of(self, obj: Player) -> Sequence[tuple[str, Panel]]:
        return [
            ("Balances", wallet_panels.checked_balances(obj)),
            ("Items", panels.inventory(obj)),
            ("Ledger", wallet_panels.statement(obj)),
            ("Item history", wallet_panels.item_history(obj)),
        ]

    def has_grant_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "grant", self.roles)

    @action(description="Grant", url_path="grant", permissions=["grant"])
    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        player: Wallet | None = self.get_object(request, object_id)
        if player is None:
            raise Http404

        def act(form: GrantForm) -> str | None:
            asked = form.cleaned_data
            currencies = {asked["currency"]: asked["amount"]} if asked["currency"] else {}
            items = {asked["item"]: asked["quantity"]} if asked["item"] else {}
            with transaction.atomic():
                outcome = approvals.give(
                    player=player,
                    currencies=currencies,
                    items=items,
                    reason=asked["reason"],
                    requester=cast(StaffUser, request.user),
                    token=asked["token"],
                )
                waits = isinstance(outcome, GrantRequest)
                if not outcome.is_replay:
                    what = ("", panels.amounts(currencies | items))
                    change = {"grant_asked" if waits else "granted": what}
                    audit(player, **change, reason=("", asked["reason"]))
            if waits:
                return "This is above the threshold: a second person has to approve it."
            return None

        question = Confirmation(
            title=f"Grant to {player}",
            text="A currency, an item, or both. What a maximum does not leave room for is refused; "
            "what is above the game's threshold waits for a second person.",
            button="Grant",
            form=grant_form(player.game_id),
            act=act,
            done="Granted.",
        )
        return confirm(self, request, player, question)


@admin.register(Transaction)
class TransactionAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    """Every movement of value, with both sides."""

    list_display = ("id", "kind", "player", "reason", "reference", "created_at")
    list_filter = ("kind",)
    list_select_related = ("player",)
    search_help_text = "Transaction's id or key; player's id, name, name#1234 or e-mail"
    fields = ("id", "game", "player", "kind", "reason", "reference", "key", "created_at")

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[Any]", search_term: str
    ) -> tuple["QuerySet[Any]", bool]:
        """The player's latest are found through the indexes of entries and movements."""
        term = search_term.strip().replace("\0", "")
        if not term:
            return queryset, False
        players = find_players(term)
        ids: set[UUID] = set()
        for model in (Entry, StackMovement):
            rows = model._default_manager.filter(player_id__in=players).order_by("-created_at")
            ids |= set(rows.values_list("transaction_id", flat=True)[:500])
        games = list(Game.objects.values_list("pk", flat=True))
        condition = Q(pk__in=ids) | Q(game_id__in=games, key=term) | self._exact("id", term)
        return queryset.filter(condition), False

    def panels_of(self, obj: Transaction) -> Sequence[tuple[str, Panel]]:
        entries = Entry.objects.filter(created_at=obj.created_at, transaction_id=obj.pk)
        moved = StackMovement.objects.filter(created_at=obj.created_at, transaction_id=obj.pk)
        return [
            ("What it is about", panels.about(obj)),
            (
                "Entries",
                Panel(
                    ("Account", "Currency", "Paid", "Earned", "Balance after"),
                    [
                        (
                            row.get_account_display(),
                            row.currency.key,
                            row.paid,
                            row.earned,
                            None
                            if row.paid_after is None or row.earned_after is None
                            else row.paid_after + row.earned_after,
                        )
                        for row in entries.select_related("currency").order_by("id")
                    ],
                ),
            ),
            (
                "Items",
                Panel(
                    ("Item", "Quantity", "Stack after"),
                    [
                        (row.item.key, row.quantity, row.quantity_after)
                        for row in moved.select_related("item").order_by("id")
                    ],
                ),
            ),
        ]


@admin.register(Purchase)
class PurchaseAdmin(PanelsMixin, PlayerSearchMixin, BigTableAdmin):
    also_search = ("id",)
    search_help_text = "Purchase's (transaction's) id; player's id, name, name#1234 or e-mail"
    list_display = ("id", "player", "offer", "quantity", "cost", "created_at")
    list_filter = ("game",)
    list_select_related = ("player", "offer")
    fields = (
        "id",
        "game",
        "player",
        "offer",
        "quantity",
        "price",
        "granted",
        "created_at",
    )

    @display(description="Price")
    def cost(self, purchase: Purchase) -> str:
        return panels.amounts(purchase.price)

    def panels_of(self, obj: Purchase) -> Sequence[tuple[str, Panel]]:
        gift = panels.gift_of(obj)
        return [("Gift", gift)] if gift else []


@admin.register(Gift)
class GiftAdmin(PlayerSearchMixin, BigTableAdmin):
    """Found by who has received it, or by the ids of the gift, the purchase or the buyer."""

    player_field = "recipient"
    also_search = ("id", "purchase", "sender")
    search_help_text = "Recipient's id, name, name#1234 or e-mail; buyer's, gift's, purchase's id"
    list_display = ("id", "sender", "recipient", "offer", "quantity", "what", "created_at")
    list_filter = ("game",)
    list_select_related = ("sender", "recipient", "offer")
    fields = (
        "id",
        "game",
        "sender",
        "recipient",
        "purchase",
        "offer",
        "quantity",
        "currencies",
        "items",
        "created_at",
    )

    @display(description="What")
    def what(self, gift: Gift) -> str:
        return panels.amounts(gift.currencies | gift.items)


@admin.register(Grant)
class GrantAdmin(PlayerSearchMixin, BigTableAdmin):
    also_search = ("id",)
    search_help_text = "Grant's (transaction's) id; player's id, name, name#1234 or e-mail"
    list_display = ("id", "player", "what", "reason", "source", "actor", "created_at")
    list_filter = ("source", "game")
    list_select_related = ("player",)

    @display(description="What")
    def what(self, grant: Grant) -> str:
        return panels.amounts(grant.currencies | grant.items)
