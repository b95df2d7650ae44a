"""Forms of content: what the game's file says, field by field, checked by the rules of the file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import yaml
from django import forms
from django.conf import settings
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from config.api.parsing import convert
from config.api.problems import Problem
from store import shapes
from store.models import Item, Offer, Storefront
from store.rules import Surroundings, mistakes
from store.services import content
from store.shapes import Entry, ItemFile, OfferFile, StoreFile

# An amount of text that nobody types, and that YAML's aliases can't make much of.
MAX_TEXT = 20_000


class YamlField(forms.CharField):
    """A mapping or a list as YAML, so also as JSON: `petals: 50`."""

    empty: ClassVar[Any] = {}
    widget = UnfoldAdminTextareaWidget

    def __init__(self, *, rows: int = 2, **options: Any) -> None:
        options.setdefault("required", False)
        widget = UnfoldAdminTextareaWidget(attrs={"rows": rows})
        super().__init__(max_length=MAX_TEXT, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).strip() if value else ""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        try:
            if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
                raise forms.ValidationError("Aliases are not taken here.")
            found = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise forms.ValidationError("Write one `key: value` a line.") from None
        return found or type(self.empty)()

    def run_validators(self, value: Any) -> None:
        """The text's length is all that is left to check, and is checked while it is text."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class YamlListField(YamlField):
    """A list as YAML, one entry a line: `- gems: 5`."""

    empty: ClassVar[Any] = []


class WordsField(forms.CharField):
    """Keys with commas between them."""

    def __init__(self, *, upper: bool = False, **options: Any) -> None:
        self.upper = upper
        widget = UnfoldAdminTextInputWidget()
        super().__init__(required=False, max_length=MAX_TEXT, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else ", ".join(value or ())

    def to_python(self, value: Any) -> Any:
        text = (super().to_python(value) or "").replace(",", " ")
        return (text.upper() if self.upper else text).split()

    def run_validators(self, value: Any) -> None:
        """What the words are is checked with all the rest."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class Moment(forms.SplitDateTimeField):
    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=UnfoldAdminSplitDateTimeWidget(), **options)


class Number(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminIntegerFieldWidget()
        super().__init__(required=False, min_value=1, widget=widget, **options)


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


class EntryForm(ContentForm):
    """Content that can be kept as a draft. Something with a draft is edited as the draft says."""

    kind: ClassVar[type[Any]]
    # The form's own fields that are several of the file's: (prefix, file's field, their names).
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    entry: Entry | None = None

    keep_as_draft = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Only testers see it, until drafts are published.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        row = self.instance
        if row._state.adding:
            return
        if row.draft is not None:
            try:
                shapes.preview(row)
            except Problem as problem:
                self.fields["keep_as_draft"].help_text = f"The draft is lost: {problem.detail}"
            self.initial.update(forms.model_to_dict(row))
            self.initial["keep_as_draft"] = True
        for part, names in self.parts.items():
            said: Mapping[str, Any] = getattr(row, part) or {}
            self.initial.update({f"{part}_{name}": said.get(name) for name in names})

    def raw(self, values: dict[str, Any]) -> dict[str, Any]:
        """What the form says, as the file would."""
        raise NotImplementedError

    def part(self, values: dict[str, Any], part: str) -> dict[str, Any]:
        """Several fields of the form as one of the file; empty ones are left out."""
        said = {name: values[f"{part}_{name}"] for name in self.parts[part]}
        return {name: value for name, value in said.items() if value not in (None, "", [], {})}

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if self.errors:
            return values
        raw = {"key": values.get("key") or self.instance.key, **self.raw(values)}
        try:
            entry = convert(raw, self.kind)
        except Problem as problem:
            self.add_error(None, problem.detail)
            return values
        game = values.get("game") or self.instance.game
        around = content.surroundings(game.pk, with_drafts=values["keep_as_draft"])
        for pointer, message in mistakes(entry, _with(around, entry)):
            self.add_error(self._field_at(pointer), message)
        self.entry = entry
        return values

    def _field_at(self, pointer: str) -> str | None:
        """The form's field that a pointer into the file is about."""
        parts = pointer.split("/")[1:]
        names = ["_".join(parts[:2]), *parts[:1]]
        if parts[:1] == ["prices"]:
            names.append("other_prices")
        return next((name for name in names if name in self.fields), None)

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook
        if self.entry is not None:
            for name, value in shapes.fields_of(self.entry).items():
                setattr(self.instance, name, value)


def _with(around: Surroundings, entry: Entry) -> Surroundings:
    """The surroundings with the entry itself in them, as it will be."""
    bundles = {key: value for key, value in around.bundles.items() if key != entry.key}
    if not isinstance(entry, ItemFile):
        return around
    return replace(around, bundles=bundles | content.bundles([entry]))


def _texts() -> tuple[YamlField, YamlField, YamlField]:
    return (
        YamlField(help_text="By language: `en: Koi`. Players read theirs, else English."),
        YamlField(help_text="By language."),
        YamlField(help_text="What the game itself wants to know: `rarity: rare`. At most 20."),
    )


class ItemForm(EntryForm):
    kind = ItemFile
    contents = YamlField(help_text="Of a bundle: `items: {koi: 1}`, `currencies: {gems: 5}`.")
    titles, descriptions, properties = _texts()

    class Meta:
        model = Item
        fields = ("game", "key", "name", "kind", "max_stack", "is_active")

    def raw(self, values: dict[str, Any]) -> dict[str, Any]:
        names = ("name", "kind", "max_stack", "contents", "titles", "descriptions", "properties")
        return {name: values[name] for name in names}


class OfferForm(EntryForm):
    kind = OfferFile
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "schedule": ("cron", "duration_seconds"),
        "sale": ("percent", "price", "starts_at", "ends_at"),
        "requires": (
            "stats",
            "offers",
            "countries",
            "countries_except",
            "app_version",
            "segments",
        ),
    }

    contents = YamlField(
        required=True, help_text="`items: {koi: 1}` and `currencies: {gems: 100}`, or one of them."
    )
    price = YamlField(help_text="`petals: 50`. All of it is paid. Empty: not for virtual currency.")
    other_prices = YamlListField(help_text="To be paid instead: `- gems: 5`")
    products = YamlField(help_text="`apple: com.example.gems`")
    titles, descriptions, properties = _texts()
    only_in_stores = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Sold in the stores that name it, and not in the list of all offers.",
    )
    schedule_cron = forms.CharField(
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="Opens again and again: `0 18 * * 5` is Fridays at 18:00, in the game's time.",
    )
    schedule_duration_seconds = Number(help_text="How long it stays open: 7200 is two hours.")
    sale_percent = Number(max_value=99, help_text="Per cent off all prices, rounded up.")
    sale_price = YamlField(help_text="Or the lower price: `petals: 30`")
    sale_starts_at = Moment()
    sale_ends_at = Moment()
    requires_stats = YamlField(help_text="The least value of each: `garden_level: 10`")
    requires_offers = WordsField(help_text="Bought before.")
    requires_countries = WordsField(upper=True, help_text="One of these: DE, FR")
    requires_countries_except = WordsField(upper=True, help_text="None of these.")
    requires_app_version = forms.CharField(
        required=False, max_length=40, widget=UnfoldAdminTextInputWidget, help_text="At least."
    )
    requires_segments = WordsField(help_text="All of these: new_player, payer, tester.")

    class Meta:
        model = Offer
        fields = (
            "game",
            "key",
            "reference_minor_units",
            "reference_currency",
            "limit_per_player",
            "limit_reset",
            "cooldown_seconds",
            "starts_at",
            "ends_at",
            "is_active",
            "is_giftable",
        )
        help_texts: ClassVar[Any] = {
            "reference_minor_units": "What it costs in real money, for charts: 99 for 0.99.",
            "reference_currency": "Such as USD.",
            "limit_per_player": "What was bought before counts.",
            "limit_reset": "When it begins anew: `0 0 * * *` is each midnight, in the game's time.",
            "cooldown_seconds": "How long a player waits between two purchases.",
            "is_giftable": "Players may buy it for a friend.",
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["only_in_stores"] = not self.instance.is_listed
        for name in ("sale_starts_at", "sale_ends_at"):
            if isinstance(text := self.initial.get(name), str):
                self.initial[name] = convert(text, shapes.Moment)

    def raw(self, values: dict[str, Any]) -> dict[str, Any]:
        names = (
            *("contents", "products", "limit_per_player", "limit_reset", "cooldown_seconds"),
            *("starts_at", "ends_at", "titles", "descriptions", "properties"),
        )
        raw = {name: values[name] for name in names}
        others = values["other_prices"]
        raw |= {"prices": [values["price"], *others]} if others else {"price": values["price"]}
        minor_units, currency = values["reference_minor_units"], values["reference_currency"]
        if minor_units is not None or currency:
            raw["reference_price"] = {"currency": currency, "minor_units": minor_units}
        return raw | {
            "listed": not values["only_in_stores"],
            "giftable": values["is_giftable"],
            "schedule": self.part(values, "schedule") or None,
            "sale": self.part(values, "sale") or None,
            "requires": self.part(values, "requires"),
        }


class StoreForm(EntryForm):
    kind = StoreFile
    offers = YamlListField(
        rows=8,
        required=True,
        help_text="In the order of the list: `- offer: koi`, and below it, where the price is "
        "another one here, `  price: {petals: 40}`.",
    )

    class Meta:
        model = Storefront
        fields = ("game", "key", "is_active")

    def raw(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"offers": values["offers"]}
