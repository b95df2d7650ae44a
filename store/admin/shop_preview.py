"""The shop as a player has it: every offer, on what terms, or why not."""

from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts.backoffice import Panel
from accounts.models import Player
from accounts.selectors import find_players
from store import panels, shop
from store.catalogue import catalogue
from store.services import availability
from store.services.availability import Listed
from store.services.shoppers import Shopper


class PreviewForm(forms.Form):
    """Whose shop, and which."""

    player = forms.CharField(
        widget=UnfoldAdminTextInputWidget, help_text="The player's id, name#1234 or e-mail."
    )
    store = forms.CharField(
        required=False, widget=UnfoldAdminTextInputWidget, help_text="Empty: all offers."
    )
    app_version = forms.CharField(
        required=False, widget=UnfoldAdminTextInputWidget, help_text="Such as 2.10.0."
    )
    drafts = forms.BooleanField(
        required=False, widget=UnfoldBooleanSwitchWidget, help_text="With drafts, as for testers."
    )

    def clean_player(self) -> Player:
        found = Player.objects.filter(pk__in=find_players(self.cleaned_data["player"]))[:2]
        if len(found) != 1:
            raise forms.ValidationError("No player, or several: give the id.")
        return found[0]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if "player" in values and values.get("store"):
            content = catalogue(values["player"].game_id, preview=values["drafts"])
            if values["store"] not in content.stores:
                self.add_error("store", "The game has no such store.")
        return values


def preview_panel(asked: dict[str, Any]) -> tuple[str, Panel]:
    """A title, and the offers as the player of the form has them."""
    player: Player = asked["player"]
    shopper = Shopper(
        player.game_id,
        player.pk,
        timezone.now(),
        is_tester=player.is_tester,
        app_version=asked["app_version"],
    )
    content = catalogue(player.game_id, preview=asked["drafts"])
    shelf = availability.shelf(content, asked["store"] or None) or []
    columns = ("Offer", "Title", "Contents", "Price", "Instead of", "Left", "Gift", "State")
    return str(player), Panel(columns, [_row(listed, shopper) for listed in shelf])


def _row(listed: Listed, shopper: Shopper) -> tuple[object, ...]:
    offer = listed.offer
    terms = availability.terms(listed, shopper.now)
    standing = availability.standing(offer, shopper)
    requirement = availability.unmet(offer, shopper)
    if terms is None:
        state = "closed now"
    elif requirement:
        state = f"requires: {requirement}"
    elif standing.left == 0:
        state = "sold out for this player"
    elif standing.available_at:
        state = f"again at {standing.available_at:%Y-%m-%d %H:%M:%S} UTC"
    else:
        state = "can be bought"
    return (
        offer.key,
        shop.text_for(offer.texts.titles, shopper.profile.locale) or "",
        panels.amounts({**offer.currencies, **offer.items}),
        _prices(terms.prices if terms else listed.prices),
        _prices(terms.regular) if terms else "",
        "" if standing.left is None else standing.left,
        "yes" if offer.is_giftable else "",
        state,
    )


def _prices(prices: tuple[dict[str, int], ...]) -> str:
    return " or ".join(map(panels.amounts, prices))
