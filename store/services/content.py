"""Writing the catalogue."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import models, transaction

from config.db import definitions


def write(
    *, model: type[models.Model], game_id: UUID, writes: Mapping[str, Mapping[str, Any]]
) -> None:
    """Create or change a game's currencies, items or offers: key → fields to set.

    All processes see it with their next request.
    """
    if not writes:
        return
    with transaction.atomic():
        manager = model._default_manager
        rows = {row.key: row for row in manager.filter(game_id=game_id, key__in=list(writes))}  # type: ignore[attr-defined] # the three models have a key
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
