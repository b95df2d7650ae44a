"""The back office of the store: the catalogue, wallets, and the ledger with its causes."""

from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.backoffice import (
    BigTableAdmin,
    GameContentAdmin,
    Panel,
    PlayerSearchMixin,
    audit,
    shown,
)
from accounts.confirmation import Confirmation, confirm
from accounts.models import Game, Player
from accounts.roles import EVERYONE, HELPERS, Roles, may
from accounts.selectors import find_players
from config.api.parsing import convert
from config.api.problems import Problem
from config.db.ids import uuid7
from store import panels
from store.catalogue import catalogue
from store.definition import OfferFile, mistakes
from store.models import (
    Currency,
    Entry,
    Grant,
    Item,
    Offer,
    Purchase,
    StackMovement,
    Transaction,
    Wallet,
)
from store.services import grants

PANELS_TEMPLATE = "admin/store/panels.html"
PANEL_TEMPLATE = "admin/accounts/player/panel.html"


def drawn(title: str, panel: Panel) -> dict[str, Any]:
    """A panel as the player page's template takes it."""
    rows = [[shown(value) for value in row] for row in panel.rows]
    return {
        "title": title,
        "template": PANEL_TEMPLATE,
        "columns": panel.columns,
        "table": {"headers": list(panel.columns), "rows": rows},
        "more_url": panel.more_url,
        "note": panel.note,
        "panel": panel,
    }


class PanelsMixin:
    """A page with panels below the fields."""

    change_form_outer_after_template = PANELS_TEMPLATE

    def panels_of(self, obj: Any) -> Sequence[tuple[str, Panel]]:
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        parent: Any = super()
        obj = parent.get_object(request, object_id)
        drawings = [drawn(*part) for part in self.panels_of(obj)] if obj is not None else []
        context = {**(extra_context or {}), "panels": drawings}
        response: HttpResponse = parent.change_view(request, object_id, form_url, context)
        return response


class ContentForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Content, as much of it as a game may have."""

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        model = self._meta.model
        most = getattr(settings, f"STORE_MAX_{model._meta.verbose_name_plural}".upper())
        game = values.get("game")
        if game is not None and model._default_manager.filter(game=game).count() >= most:
            self.add_error(None, f"A game has at most {most}, archived ones included.")
        return values


@admin.register(Currency)
class CurrencyAdmin(GameContentAdmin):
    form = ContentForm
    fields = ("game", "key", "name", "initial", "max", "is_active")
    list_display = ("key", "name", "game", "initial", "max", "is_active")
    search_fields = ("key", "name")


@admin.register(Item)
class ItemAdmin(GameContentAdmin):
    form = ContentForm
    fields = ("game", "key", "name", "kind", "max_stack", "is_active")
    list_display = ("key", "name", "game", "kind", "max_stack", "is_active")
    list_filter = ("game", "kind", "is_active")
    search_fields = ("key", "name")


class OfferForm(ContentForm):
    """An offer, with the rules that the game's file has too."""

    class Meta:
        model = Offer
        fields = "__all__"  # noqa: DJ007 (each of them is the designers')
        widgets: ClassVar[Any] = {
            name: UnfoldAdminTextareaWidget(attrs={"rows": 3})
            for name in ("contents", "price", "products")
        }
        help_texts: ClassVar[Any] = {
            "contents": '{"currencies": {"gems": 100}, "items": {"koi": 1}}',
            "price": '{"petals": 50}: all of it is paid. Empty: not for virtual currency.',
            "products": '{"apple": "com.example.gems", "google": "gems"}',
            "reference_minor_units": "What it costs in real money, for charts: 99 for 0.99.",
            "reference_currency": "Such as USD.",
            "limit_per_player": "What was bought before counts.",
        }

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors:
            return values
        game = values.get("game") or self.instance.game
        reference = None
        if values["reference_minor_units"] is not None or values["reference_currency"]:
            reference = {
                "currency": values["reference_currency"],
                "minor_units": values["reference_minor_units"],
            }
        raw = {
            "key": values.get("key") or self.instance.key,
            "contents": values["contents"],
            "price": values["price"] or {},
            "products": values["products"] or {},
            "reference_price": reference,
            "limit_per_player": values["limit_per_player"],
            "starts_at": values["starts_at"],
            "ends_at": values["ends_at"],
        }
        try:
            offer = convert(raw, OfferFile)
        except Problem as problem:
            self.add_error(None, problem.detail)
            return values
        for pointer, message in mistakes(offer, _keys(Currency, game), _keys(Item, game)):
            field = pointer.split("/")[1] if pointer else ""
            self.add_error(field if field in self.fields else None, message)
        return values


def _keys(model: Any, game: Game) -> set[str]:
    return set(model.objects.filter(game=game, is_active=True).values_list("key", flat=True))


@admin.register(Offer)
class OfferAdmin(GameContentAdmin):
    form = OfferForm
    fields = (
        ("game", "key"),
        "contents",
        "price",
        "products",
        ("reference_minor_units", "reference_currency"),
        "limit_per_player",
        "starts_at",
        "ends_at",
        "is_active",
    )
    list_display = ("key", "game", "what", "cost", "limit_per_player", "window", "is_active")
    search_fields = ("key",)

    @display(description="Contents")
    def what(self, offer: Offer) -> str:
        contents = offer.contents
        return panels.amounts({**contents.get("currencies", {}), **contents.get("items", {})})

    @display(description="Price")
    def cost(self, offer: Offer) -> str:
        if offer.price:
            return panels.amounts(offer.price)
        if offer.reference_minor_units is not None:
            return f"{offer.reference_minor_units / 100:,.2f} {offer.reference_currency}"
        return "–"

    @display(description="Window (UTC)")
    def window(self, offer: Offer) -> str:
        if offer.starts_at is None and offer.ends_at is None:
            return "always"
        start, end = (
            f"{moment:%Y-%m-%d %H:%M}" if moment else ""
            for moment in (offer.starts_at, offer.ends_at)
        )
        return f"{start} – {end}"


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

    @display(description="Player")
    def name(self, player: Player) -> str:
        return str(player)

    def panels_of(self, obj: Player) -> Sequence[tuple[str, Panel]]:
        return [
            ("Balances", panels.checked_balances(obj)),
            ("Items", panels.inventory(obj)),
            ("Ledger", panels.statement(obj)),
            ("Item history", panels.item_history(obj)),
        ]

    def has_grant_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request.user, "grant", self.roles)

    @action(description="Grant", url_path="grant", permissions=["grant"])
    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        player: Wallet | None = self.get_object(request, object_id)
        if player is None:
            raise Http404

        def act(form: GrantForm) -> None:
            given = form.cleaned_data
            currencies = {given["currency"]: given["amount"]} if given["currency"] else {}
            items = {given["item"]: given["quantity"]} if given["item"] else {}
            with transaction.atomic():
                row = grants.grant(
                    game_id=player.game_id,
                    player_id=player.pk,
                    currencies=currencies,
                    items=items,
                    key=f"staff:{request.user.pk}:{given['token']}",
                    reason=given["reason"],
                    source=Grant.Source.STAFF,
                    actor=request.user.get_username(),
                    overflow="refuse",
                )
                if not row.is_replay:
                    audit(
                        player,
                        granted=("", panels.amounts(currencies | items)),
                        reason=("", given["reason"]),
                    )

        question = Confirmation(
            title=f"Grant to {player}",
            text="A currency, an item, or both. What a maximum does not leave room for is refused.",
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
class PurchaseAdmin(PlayerSearchMixin, BigTableAdmin):
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
