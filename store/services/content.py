"""Writing the catalogue: at once, or as drafts that are published together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import models, transaction

from config.api.problems import Problem
from config.db import definitions
from store.bundles import Contents
from store.models import Currency, Item, Offer, Storefront
from store.rules import Surroundings, mistakes
from store.services import shoppers
from store.shapes import (
    ACTIVE,
    Entry,
    ItemFile,
    draft_of,
    drafted,
    entry_of,
    fields_of,
    plain,
)

# In the order in which they name each other.
DRAFTED: tuple[type[Item | Offer | Storefront], ...] = (Item, Offer, Storefront)


class DraftMistaken(Problem):
    """In the back office: a draft does not fit the rest of the content; the detail says why."""

    status, code, title = 422, "draft_mistaken", "These drafts can't be published"


@dataclass(frozen=True)
class Difference:
    """What publishing a draft changes: a field as it is and as it will be."""

    kind: str
    key: str
    field: str
    before: Any
    after: Any


def write(
    *, model: type[models.Model], game_id: UUID, writes: Mapping[str, Mapping[str, Any]]
) -> None:
    """Create or change a game's currencies, items, offers or stores: key → fields to set.

    All processes see it with their next request. Drafts stay what they are: the difference that
    they make is to what is live by then.
    """
    if not writes:
        return
    with transaction.atomic():
        manager = model._default_manager
        rows = {row.key: row for row in manager.filter(game_id=game_id, key__in=list(writes))}  # type: ignore[attr-defined] # the models of content have a key
        manager.bulk_create(
            [
                model(game_id=game_id, key=key, **fields)
                for key, fields in writes.items()
                if key not in rows
            ],
            batch_size=1_000,
        )
        changed_rows = []
        names: set[str] = set()
        for key, row in rows.items():
            for name, value in writes[key].items():
                setattr(row, name, value)
            names |= set(writes[key])
            changed_rows.append(row)
        if changed_rows:
            manager.bulk_update(changed_rows, sorted(names), batch_size=500)
        definitions.changed(game_id)


def bundles(entries: Iterable[Entry]) -> dict[str, Contents]:
    """What is in the bundles among `entries`, by key."""
    return {
        entry.key: Contents(entry.contents.currencies, entry.contents.items)
        for entry in entries
        if isinstance(entry, ItemFile) and entry.kind == Item.Kind.BUNDLE
    }


def save_draft(
    *,
    model: type[Item | Offer | Storefront],
    game_id: UUID,
    entry: Entry,
    is_active: bool,
) -> Item | Offer | Storefront:
    """Keep `entry` as the draft of the row with its key, which is made where there is none.

    Testers see it with their next request, nobody else does. A draft that changes nothing is none.
    """
    with transaction.atomic():
        manager: Any = model._default_manager
        row = manager.select_for_update().filter(game_id=game_id, key=entry.key).first()
        if row is None:
            row = model(game_id=game_id, key=entry.key, is_active=False)
        row.draft = draft_of(row, entry, is_active=is_active) or None
        row.save()
        definitions.changed(game_id)
    return row  # type: ignore[no-any-return] # of the model that was given


def discard(*, rows: Iterable[Item | Offer | Storefront]) -> int:
    """Forget the drafts of `rows`; how many there were."""
    count = 0
    with transaction.atomic():
        for row in rows:
            if row.draft is not None:
                row.draft = None
                row.save(update_fields=["draft"])
                definitions.changed(row.game_id)
                count += 1
    return count


def differences(*, game_id: UUID) -> list[Difference]:
    """What `publish` would change now."""
    return [
        difference
        for model in DRAFTED
        for row in _with_drafts(model, game_id)
        for difference in _difference(row)
    ]


def publish(*, game_id: UUID) -> int:
    """Make all drafts of a game live, together; how many there were.

    Raises `DraftMistaken`, and changes nothing, where one does not fit what it will stand beside.
    """
    with transaction.atomic():
        wanted = [
            (row, *_drafted(row))
            for model in DRAFTED
            for row in _with_drafts(model, game_id).select_for_update()
        ]
        for row, entry, is_active in wanted:
            fields = {**fields_of(entry), "is_active": is_active, "draft": None}
            for name, value in fields.items():
                setattr(row, name, value)
            row.save(update_fields=list(fields))
        around = surroundings(game_id)
        found = [
            f"{entry.key}{pointer}: {message}"
            for _, entry, is_active in wanted
            if is_active
            for pointer, message in mistakes(entry, around)
        ]
        if found:
            raise DraftMistaken(". ".join(found[:10]))
        if wanted:
            definitions.changed(game_id)
    return len(wanted)


def surroundings(game_id: UUID, *, with_drafts: bool = False) -> Surroundings:
    """What content may name: what is active, or will be once the drafts are published."""

    def active(model: Any) -> list[Any]:
        rows = list(model._default_manager.filter(game_id=game_id).order_by("id"))
        if not with_drafts:
            return [row for row in rows if row.is_active]
        return [row for row in rows if (row.draft or {}).get(ACTIVE, row.is_active)]

    items = active(Item)
    entries = [_drafted(row)[0] if with_drafts else entry_of(row) for row in items]
    currencies = Currency.objects.filter(game_id=game_id, is_active=True)
    return Surroundings(
        currencies=set(currencies.values_list("key", flat=True)),
        items={row.key for row in items},
        offers={row.key for row in active(Offer)},
        bundles=bundles(entries),
        segments=shoppers.segment_names(),
    )


def _with_drafts(model: Any, game_id: UUID) -> Any:
    return model._default_manager.filter(game_id=game_id, draft__isnull=False).order_by("pk")


def _drafted(row: Item | Offer | Storefront) -> tuple[Entry, bool]:
    try:
        return drafted(row)
    except Problem as problem:
        raise DraftMistaken(f"{row.key}: {problem.detail}") from None


def _difference(row: Item | Offer | Storefront) -> list[Difference]:
    entry, is_active = _drafted(row)
    before, after = plain(entry_of(row)), plain(entry)
    changes = draft_of(row, entry, is_active=is_active)
    before[ACTIVE], after[ACTIVE] = row.is_active, is_active
    kind = str(row._meta.verbose_name)
    return [
        Difference(kind, row.key, name, before.get(name), after.get(name))
        for name in sorted(changes)
    ]
