"""Promotion campaigns, and ordering codes of them."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.decorators import action, display
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.backoffice import GameContentAdmin, Panel, PanelsMixin, audit
from accounts.confirmation import Confirmation, confirm
from accounts.models import Game, StaffUser
from accounts.roles import MAKERS, Roles, may
from config.api.parsing import convert
from config.api.problems import Problem
from config.hooks import hasten
from store import panels
from store.admin.content_forms import ContentForm
from store.definition_codes import CampaignFile, mistakes
from store.models import Campaign, Currency, Item
from store.services import campaigns
from store.tasks import make_codes


class CampaignForm(ContentForm):
    """A campaign, with the rules that the game's file has too."""

    words = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Words that every player may redeem once, such as SPRING2026: one a line, 4 to "
        "15 letters and digits. Codes for one player each are generated, once this is saved.",
    )
    countries = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Only players of these countries: DE, FR. Empty: all.",
    )

    class Meta:
        model = Campaign
        fields = "__all__"
        widgets: ClassVar[Any] = {"contents": UnfoldAdminTextareaWidget(attrs={"rows": 3})}
        help_texts: ClassVar[Any] = {
            "contents": '{"currencies": {"gems": 100}, "items": {"koi": 1}}',
            "max_redemptions": "By all players together. Empty: no limit.",
            "limit_per_player": "How many codes of this campaign one player may redeem.",
            "new_player_days": "Only who has played for at most so many days. Empty: all.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and not self.instance._state.adding:
            self.initial["words"] = "\n".join(campaigns.words_of(campaign=self.instance))
            self.initial["countries"] = ", ".join(self.instance.countries)

    def clean_words(self) -> list[str]:
        return str(self.cleaned_data["words"]).split()

    def clean_countries(self) -> list[str]:
        return str(self.cleaned_data["countries"]).upper().replace(",", " ").split()

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors:
            return values
        game = values.get("game") or self.instance.game
        names = ("title", "contents", "words", "max_redemptions", "limit_per_player", "countries")
        raw = {name: values[name] for name in (*names, "new_player_days", "starts_at", "ends_at")}
        try:
            entry = convert({"key": values.get("key") or self.instance.key, **raw}, CampaignFile)
        except Problem as problem:
            first = problem.errors[0] if problem.errors else None
            self._complain(first.pointer if first else "", first.detail if first else "")
            return values
        for pointer, message in mistakes(entry, _keys(Currency, game), _keys(Item, game)):
            self._complain(pointer, message)
        for word in entry.words:
            found = campaigns.find(game_id=game.pk, typed=word)
            if found is not None and found.campaign_id != self.instance.pk:
                self._complain("/words", f"Another campaign has the word {word}")
        return values

    def _complain(self, pointer: str, message: str) -> None:
        field = pointer.split("/")[1] if pointer else ""
        self.add_error(field if field in self.fields else None, message or "This is not valid")


def _keys(model: Any, game: Game) -> set[str]:
    return set(model.objects.filter(game=game, is_active=True).values_list("key", flat=True))


class BatchForm(forms.Form):
    """How many codes."""

    count = forms.IntegerField(min_value=1, widget=UnfoldAdminIntegerFieldWidget)
    note = forms.CharField(
        max_length=100,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Whom they are for, such as a magazine.",
    )


@admin.register(Campaign)
class CampaignAdmin(PanelsMixin, GameContentAdmin):
    """What codes give, to whom, and when."""

    roles: ClassVar[Roles] = {**GameContentAdmin.roles, "generate": MAKERS}
    form = CampaignForm
    fields = (
        ("game", "key"),
        "title",
        "contents",
        "words",
        ("max_redemptions", "limit_per_player"),
        ("countries", "new_player_days"),
        "starts_at",
        "ends_at",
        "is_active",
    )
    list_display = ("key", "title", "game", "what", "max_redemptions", "ends_at", "is_active")
    search_fields = ("key", "title")
    actions_detail = ("generate",)

    @display(description="Contents")
    def what(self, campaign: Campaign) -> str:
        contents = campaign.contents
        return panels.amounts({**contents.get("currencies", {}), **contents.get("items", {})})

    def panels_of(self, obj: Campaign) -> Sequence[tuple[str, Panel]]:
        return [("Batches of codes", panels.batches(obj)), ("Redeemed", panels.redeemed(obj))]

    def save_model(self, request: HttpRequest, obj: Campaign, form: Any, change: bool) -> None:
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            campaigns.forget_count(campaign=obj)
            campaigns.set_words(campaign=obj, words=form.cleaned_data["words"])

    def has_generate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return may(request.user, "generate", self.roles)

    @action(description="Generate codes", url_path="generate", permissions=["generate"])
    def generate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign: Campaign = self.object_or_404(request, object_id)

        def act(form: forms.Form) -> None:
            with transaction.atomic():
                batch = campaigns.order_batch(
                    campaign=campaign, author=cast(StaffUser, request.user), **form.cleaned_data
                )
                audit(campaign, codes_generated=("", batch.count))
                hasten(make_codes)

        question = Confirmation(
            title=f"Generate codes of {campaign}",
            text=f"At most {settings.STORE_MAX_CODES:,} at once. Each can be redeemed once, by "
            "one player.",
            button="Generate",
            form=BatchForm,
            act=act,
            done="The codes are being made; the batch below says how far it is.",
        )
        return confirm(self, request, campaign, question)
