"""The catalogue: currencies, items, offers and stores, their drafts, and how players see them."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action, display

from accounts.backoffice import GameContentAdmin, drawn_panel
from accounts.models import Game
from accounts.roles import may
from store import panels
from store.admin.content_forms import ContentForm, EntryForm, ItemForm, OfferForm, StoreForm
from store.admin.shop_preview import PreviewForm, preview_panel
from store.models import Currency, Item, Offer, Storefront
from store.services import content


@admin.register(Currency)
class CurrencyAdmin(GameContentAdmin):
    form = ContentForm
    fields = ("game", "key", "name", "initial", "max", "is_active")
    list_display = ("key", "name", "game", "initial", "max", "is_active")
    search_fields = ("key", "name")


class DraftedAdmin(GameContentAdmin):
    """Content that is saved at once, or kept as a draft until drafts are published together."""

    actions = ("discard_drafts",)
    actions_list: ClassVar[tuple[str, ...]] = ("drafts",)
    model: Any

    def has_publish_permission(self, request: HttpRequest) -> bool:
        return may(request.user, "change", self.roles)

    def save_model(self, request: HttpRequest, obj: Any, form: EntryForm, change: bool) -> None:
        if not form.cleaned_data["keep_as_draft"]:
            obj.draft = None
            super().save_model(request, obj, form, change)
            return
        if form.entry is None:
            raise AssertionError("A form is saved only once it is valid")
        row = content.save_draft(
            model=self.model, game_id=obj.game_id, entry=form.entry, is_active=obj.is_active
        )
        obj.pk, obj._state.adding = row.pk, False

    @display(description="State", label={"live": "success", "draft": "warning", "new": "info"})
    def state(self, row: Any) -> str:
        """Whether there is something to publish; "new": never published."""
        if row.draft is None:
            return "live" if row.is_active else "archived"
        return "draft" if row.is_active else "new"

    @admin.action(description="Discard drafts", permissions=["publish"])
    def discard_drafts(self, request: HttpRequest, queryset: "QuerySet[Any]") -> None:
        count = content.discard(rows=queryset)
        messages.success(request, f"{count} drafts were discarded.")

    @action(description="Drafts", url_path="drafts", permissions=["publish"])
    def drafts(self, request: HttpRequest) -> HttpResponse:
        """What differs from what is live, game by game; and publishing all of a game's."""
        if request.method == "POST":
            game = Game.objects.get(pk=request.POST["game"])
            try:
                with transaction.atomic():
                    count = content.publish(game_id=game.pk)
            except content.DraftMistaken as mistaken:
                messages.error(request, mistaken.detail)
            else:
                messages.success(request, f"{count} drafts of {game} were published.")
            return HttpResponseRedirect(request.get_full_path())
        games = []
        for game in Game.objects.order_by("name"):
            try:
                panel = panels.differences(content.differences(game_id=game.pk))
            except content.DraftMistaken as mistaken:
                messages.error(request, mistaken.detail)
                continue
            if panel.rows:
                games.append({"id": game.pk, "panel": drawn_panel(game.name, panel)})
        context = {"title": "Drafts", "games": games, "media": self.media}
        return self._page(request, "admin/store/drafts.html", context)

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        opts = self.model._meta
        back = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
        common = {**admin.site.each_context(request), "opts": opts, "back": back}
        return TemplateResponse(request, template, common | context)


@admin.register(Item)
class ItemAdmin(DraftedAdmin):
    form = ItemForm
    fieldsets = (
        (None, {"fields": (("game", "key"), "name", ("kind", "max_stack"), "contents")}),
        ("Texts", {"fields": ("titles", "descriptions", "properties"), "classes": ("tab",)}),
        (None, {"fields": (("is_active", "keep_as_draft"),)}),
    )
    list_display = ("key", "name", "game", "kind", "max_stack", "state")
    list_filter = ("game", "kind", "is_active")
    search_fields = ("key", "name")


@admin.register(Offer)
class OfferAdmin(DraftedAdmin):
    form = OfferForm
    actions_list = ("drafts", "preview")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("game", "key"),
                    "contents",
                    ("price", "other_prices"),
                    "products",
                    ("reference_minor_units", "reference_currency"),
                    ("is_active", "only_in_stores", "is_giftable", "keep_as_draft"),
                )
            },
        ),
        (
            "When and how often",
            {
                "fields": (
                    "starts_at",
                    "ends_at",
                    ("schedule_cron", "schedule_duration_seconds"),
                    ("limit_per_player", "limit_reset", "cooldown_seconds"),
                ),
                "classes": ("tab",),
            },
        ),
        (
            "Sale",
            {
                "fields": (("sale_percent", "sale_price"), "sale_starts_at", "sale_ends_at"),
                "classes": ("tab",),
            },
        ),
        (
            "For whom",
            {
                "fields": (
                    ("requires_stats", "requires_offers"),
                    ("requires_countries", "requires_countries_except"),
                    ("requires_app_version", "requires_segments"),
                ),
                "classes": ("tab",),
            },
        ),
        ("Texts", {"fields": ("titles", "descriptions", "properties"), "classes": ("tab",)}),
    )
    list_display = ("key", "game", "what", "cost", "limit_per_player", "window", "state")
    search_fields = ("key",)

    @display(description="Contents")
    def what(self, offer: Offer) -> str:
        contents = offer.contents
        return panels.amounts({**contents.get("currencies", {}), **contents.get("items", {})})

    @display(description="Price")
    def cost(self, offer: Offer) -> str:
        if offer.price:
            return " or ".join(map(panels.amounts, [offer.price, *offer.other_prices]))
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

    @action(description="Preview as a player", url_path="preview", permissions=["view"])
    def preview(self, request: HttpRequest) -> HttpResponse:
        """Every offer as one player has it now, and why others are not for them."""
        form = PreviewForm(request.GET or None)
        drawings = []
        if request.GET and form.is_valid():
            drawings = [drawn_panel(*preview_panel(form.cleaned_data))]
        context = {
            "title": "Preview as a player",
            "form": form,
            "panels": drawings,
            "media": self.media + form.media,
        }
        return self._page(request, "admin/store/preview.html", context)


@admin.register(Storefront)
class StorefrontAdmin(DraftedAdmin):
    form = StoreForm
    fields = ("game", "key", "offers", ("is_active", "keep_as_draft"))
    list_display = ("key", "game", "what", "state")
    search_fields = ("key",)

    @display(description="Offers")
    def what(self, store: Storefront) -> str:
        return ", ".join(listed["offer"] for listed in store.offers)
