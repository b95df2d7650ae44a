"""The sections `campaigns` and `grant_thresholds` of a game file. See docs/game-definition.md."""

from collections import defaultdict
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction

from accounts.definition import Report
from accounts.models import Game
from config.api.parsing import INT64_MAX
from config.api.wire import Input, Key, utc
from store import codes
from store.definition import compare, known_keys, read_entries
from store.models import MAX_WORD, Campaign, Code, Currency, GrantThreshold, Item
from store.services import campaigns, content
from store.shapes import ContentsFile, Moment, Name, plain

MANY = 1_000_000_000
Word = Annotated[str, msgspec.Meta(min_length=4, max_length=MAX_WORD)]
Country = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$")]


class CampaignFile(Input, frozen=True, omit_defaults=True):
    """A campaign in the file. Generated codes are no content, and not in it."""

    key: Key
    title: Name
    contents: ContentsFile
    words: Annotated[tuple[Word, ...], msgspec.Meta(max_length=50)] = ()
    max_redemptions: Annotated[int, msgspec.Meta(ge=1, le=MANY)] | None = None
    limit_per_player: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    countries: Annotated[tuple[Country, ...], msgspec.Meta(max_length=250)] = ()
    new_player_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None


def mistakes(entry: CampaignFile, currencies: set[str], items: set[str]) -> list[tuple[str, str]]:
    """(pointer, sentence) of what is wrong with a campaign beside its form."""
    found = []
    if not entry.contents.currencies and not entry.contents.items:
        found.append(("/contents", "There is nothing in this campaign"))
    if len(entry.contents.items) > settings.STORE_MAX_CONTENTS:
        found.append(("/contents/items", f"At most {settings.STORE_MAX_CONTENTS} items"))
    for pointer, keys, known, what in (
        ("/contents/currencies", entry.contents.currencies, currencies, "currency"),
        ("/contents/items", entry.contents.items, items, "item"),
    ):
        found += [
            (f"{pointer}/{key}", f"The game has no {what} {key}")
            for key in keys
            if key not in known
        ]
    if entry.starts_at and entry.ends_at and entry.starts_at >= entry.ends_at:
        found.append(("/ends_at", "The campaign ends before it starts"))
    for word in entry.words:
        form = codes.folded(word)
        if form is None or len(form) >= codes.LENGTH:
            found.append(("/words", f"{word}: a word has 4 to 15 letters and digits"))
    return found


class CampaignsSection:
    """`campaigns`, with their words."""

    name = "campaigns"
    order = 35

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        entries = read_entries(self.name, data, CampaignFile, report)
        currencies = known_keys("currencies", Currency, game, report)
        items = known_keys("items", Item, game, report)
        forms: dict[str | None, str] = {}
        rows = {row.key: row for row in Campaign.objects.filter(game=game)}
        words = _words(list(rows.values()))
        changed_words: dict[str, tuple[str, ...]] = {}
        for index, entry in entries:
            for pointer, message in mistakes(entry, currencies, items):
                report.error(f"/{self.name}/{index}{pointer}", message)
            for word in entry.words:
                owner = campaigns.find(game_id=game.pk, typed=word)
                taken = owner is not None and owner.campaign.key != entry.key
                if taken or forms.setdefault(codes.folded(word), entry.key) != entry.key:
                    report.error(f"/{self.name}/{index}/words", f"Two campaigns have {word}")
            row = rows.get(entry.key)
            before = words[row.pk] if row is not None else []
            if sorted(before) != sorted(entry.words):
                changed_words[entry.key] = entry.words
                if row is not None:
                    report.change("changed", self.name, entry.key, "words")
        writes = compare(
            self.name,
            {entry.key: self._fields(entry) for _, entry in entries},
            rows.values(),
            settings.STORE_MAX_CAMPAIGNS,
            report,
        )
        return lambda: self._apply(game, writes, changed_words)

    def _apply(
        self, game: Game, writes: dict[str, dict[str, Any]], words: dict[str, tuple[str, ...]]
    ) -> None:
        with transaction.atomic():
            content.write(model=Campaign, game_id=game.pk, writes=writes)
            for row in Campaign.objects.filter(game=game, key__in=[*writes, *words]):
                campaigns.forget_count(campaign=row)
                if row.key in words:
                    campaigns.set_words(campaign=row, words=words[row.key])

    def _fields(self, entry: CampaignFile) -> dict[str, Any]:
        return {
            "title": entry.title,
            "contents": {"currencies": entry.contents.currencies, "items": entry.contents.items},
            "max_redemptions": entry.max_redemptions,
            "limit_per_player": entry.limit_per_player,
            "countries": list(entry.countries),
            "new_player_days": entry.new_player_days,
            "starts_at": entry.starts_at,
            "ends_at": entry.ends_at,
            "is_active": True,
        }

    def export(self, game: Game) -> list[dict[str, Any]]:
        rows = list(Campaign.objects.filter(game=game, is_active=True).order_by("id"))
        words = _words(rows)
        return [plain(file_of(row, words[row.pk])) for row in rows]


def _words(rows: list[Campaign]) -> dict[UUID, list[str]]:
    """The words of each campaign that can be redeemed, in the order in which they were made."""
    found: dict[UUID, list[str]] = defaultdict(list)
    open_words = Code.objects.filter(campaign__in=rows, state=Code.State.OPEN).exclude(word="")
    for campaign_id, word in open_words.order_by("id").values_list("campaign_id", "word"):
        found[campaign_id].append(word)
    return found


def file_of(row: Campaign, words: list[str]) -> CampaignFile:
    """The campaign as the file has it."""
    return CampaignFile(
        key=row.key,
        title=row.title,
        contents=ContentsFile(
            currencies=row.contents.get("currencies", {}), items=row.contents.get("items", {})
        ),
        words=tuple(words),
        max_redemptions=row.max_redemptions,
        limit_per_player=row.limit_per_player,
        countries=tuple(row.countries),
        new_player_days=row.new_player_days,
        starts_at=utc(row.starts_at) if row.starts_at else None,
        ends_at=utc(row.ends_at) if row.ends_at else None,
    )


class ThresholdFile(Input, frozen=True, omit_defaults=True):
    """How much of one currency or item staff may give a player in a day alone."""

    amount: Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]
    currency: Key | None = None
    item: Key | None = None


class GrantThresholdsSection:
    """`grant_thresholds`."""

    name = "grant_thresholds"
    order = 36

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        known = {
            "currencies": known_keys("currencies", Currency, game, report),
            "items": known_keys("items", Item, game, report),
        }
        wanted: dict[tuple[str, str], int] = {}
        for index, entry in read_entries(self.name, data, ThresholdFile, report):
            pointer = f"/{self.name}/{index}"
            if (entry.currency is None) == (entry.item is None):
                report.error(pointer, "A threshold is of a currency or of an item")
                continue
            what = ("currencies", entry.currency) if entry.currency else ("items", entry.item)
            if what[1] not in known[what[0]]:
                report.error(pointer, f"The game has no {what[1]}")
            if what in wanted:
                report.error(pointer, f"{what[1]} is there twice")
            wanted[what] = entry.amount
        rows = {row.what: row.amount for row in thresholds(game)}
        for what, amount in wanted.items():
            if what not in rows:
                report.change("created", self.name, what[1])
            elif rows[what] != amount:
                report.change("changed", self.name, what[1])
        for what in rows.keys() - wanted.keys():
            report.change("removed", self.name, what[1])
        return lambda: self._apply(game, wanted)

    def _apply(self, game: Game, wanted: dict[tuple[str, str], int]) -> None:
        rows = {row.what: row for row in thresholds(game)}
        for what, amount in wanted.items():
            if what not in rows:
                GrantThreshold.objects.create(game=game, amount=amount, **_subject(game, *what))
            elif rows[what].amount != amount:
                rows[what].amount = amount
                rows[what].save(update_fields=["amount"])
        for what in rows.keys() - wanted.keys():
            rows[what].delete()

    def export(self, game: Game) -> list[dict[str, Any]]:
        names = {"currencies": "currency", "items": "item"}
        return [{names[row.what[0]]: row.what[1], "amount": row.amount} for row in thresholds(game)]


def thresholds(game: Game) -> list[GrantThreshold]:
    """The game's, in the order in which they were made."""
    rows = GrantThreshold.objects.filter(game=game).select_related("currency", "item")
    return list(rows.order_by("id"))


def _subject(game: Game, what: str, key: str) -> dict[str, Any]:
    if what == "currencies":
        return {"currency": Currency.objects.get(game=game, key=key)}
    return {"item": Item.objects.get(game=game, key=key)}
