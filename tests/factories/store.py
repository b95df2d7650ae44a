"""Rows of the store for tests. Value itself is only ever made by the services."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from factory.declarations import Sequence, SubFactory
from factory.django import DjangoModelFactory

from accounts.models import Player
from config.db import definitions
from config.db.ids import uuid7
from store.models import Campaign, Currency, Grant, Item, Offer
from store.services import campaigns, grants
from tests.factories.accounts import GameFactory, StaffUserFactory

M = TypeVar("M", Currency, Item, Offer)


class ContentFactory(DjangoModelFactory[M]):
    """Content that processes see at once."""

    class Meta:
        abstract = True

    game = SubFactory(GameFactory)
    key = Sequence(lambda n: f"key_{n}")

    @classmethod
    def _create(cls, model_class: type[Any], *args: Any, **kwargs: Any) -> Any:
        row = super()._create(model_class, *args, **kwargs)
        definitions.changed(row.game_id)
        return row


class CurrencyFactory(ContentFactory[Currency]):
    class Meta:
        model = Currency

    name = "Currency"


class ItemFactory(ContentFactory[Item]):
    class Meta:
        model = Item

    name = "Item"
    kind = Item.Kind.CONSUMABLE


class OfferFactory(ContentFactory[Offer]):
    """An offer; give `contents` and `price`."""

    class Meta:
        model = Offer


def give(
    player: Player | UUID,
    currencies: Mapping[str, int] | None = None,
    items: Mapping[str, int] | None = None,
    **options: Any,
) -> Grant:
    """A grant to a player, under a key of its own unless told."""
    row = player if isinstance(player, Player) else Player.objects.get(pk=player)
    return grants.grant(
        game_id=row.game_id,
        player_id=row.pk,
        currencies=currencies or {},
        items=items or {},
        **({"key": f"test:{uuid7()}", "reason": "test"} | options),
    )


class CampaignFactory(DjangoModelFactory[Campaign]):
    """A promotion campaign; give `contents`."""

    class Meta:
        model = Campaign

    game = SubFactory(GameFactory)
    key = Sequence(lambda n: f"campaign_{n}")
    title = "Campaign"


def codes_of(campaign: Campaign, count: int, **fields: Any) -> list[str]:
    """New codes of a campaign, as they are printed."""
    batch = campaigns.order_batch(
        campaign=campaign, count=count, author=StaffUserFactory.create(), **fields
    )
    while campaigns.make_chunk(batch.pk):
        pass
    batch.refresh_from_db()
    return [code for code, _ in campaigns.export(batch=batch)]
