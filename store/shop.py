"""What a shop shows a player: offers and items, from the process's cache."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from config.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from config.api.problems import NotFound
from config.api.wire import UNSET, utc
from store.catalogue import Item, catalogue
from store.serializers import Contents, ItemOut, OfferOut, OfferQuery, Price
from store.services import availability
from store.services.availability import Listed, Standing, Terms
from store.services.shoppers import Shopper

T = TypeVar("T")
Out = TypeVar("Out")


def offers(*, shopper: Shopper, query: OfferQuery) -> Page[OfferOut]:
    """What the player can buy now: in the order in which it was made, or of the store.

    Testers see drafts. At most one query for all that is asked of the player and their purchases,
    one for stats and one for platforms' purchases, where an offer asks. Raises `NotFound` for a
    store that the game does not have.
    """
    content = catalogue(shopper.game_id, preview=shopper.is_tester)
    shelf = availability.shelf(content, query.store)
    if shelf is None:
        raise NotFound("There is no such store")
    found = [
        (listed, terms)
        for listed in shelf
        if (terms := availability.terms(listed, shopper.now)) is not None
        and availability.unmet(listed.offer, shopper) is None
    ]
    # Offers are listed in the order of their ids; a store has an order of its own.
    return _paged(
        found,
        query,
        lambda row: _offer(*row, availability.standing(row[0].offer, shopper), shopper),
        place=lambda row: str(row[0].offer.id),
        in_order=query.store is None,
    )


def items(*, shopper: Shopper, query: PageQuery) -> Page[ItemOut]:
    """The game's items, in the order in which they were made. At most one query."""
    content = catalogue(shopper.game_id, preview=shopper.is_tester)
    active = [item for item in content.items.values() if item.is_active]
    return _paged(
        active,
        query,
        lambda item: _item(item, shopper),
        place=lambda item: f"{item.id:020}",
        in_order=True,
    )


def text_for(texts: Mapping[str, str], locale: str) -> str | None:
    """The text in a player's language: in `pt-BR`, else in `pt`, else in another `pt-…`, else in
    English, else in the first language by its tag. None where there is none at all."""
    if not texts:
        return None
    wanted = locale.replace("_", "-").lower()
    known = {tag.lower(): text for tag, text in sorted(texts.items())}
    language = wanted.partition("-")[0]
    if found := known.get(wanted) or known.get(language):
        return found
    for tag, text in known.items():
        if language and tag.partition("-")[0] == language:
            return text
    return known.get("en") or next(iter(known.values()))


def _paged(
    rows: Sequence[T],
    query: PageQuery,
    out: Callable[[T], Out],
    *,
    place: Callable[[T], str],
    in_order: bool,
) -> Page[Out]:
    """One page of `rows`, which are all in memory. `in_order`: `place` grows with the rows."""
    backward, first, last = False, 0, len(rows)
    if query.cursor is not None:
        backward, (at,) = decode_cursor(query.cursor, (str,))
        places = [place(row) for row in rows]
        if in_order:
            before = sum(one < at for one in places)
            after = sum(one <= at for one in places)
        else:
            # Where the row is gone, the list begins anew.
            before = places.index(at) if at in places else 0
            after = before + 1 if at in places else 0
        first, last = (0, before) if backward else (after, len(rows))
    more = last - first > query.limit
    if backward:
        first = max(first, last - query.limit)
    else:
        last = min(last, first + query.limit)
    shown = rows[first:last]
    page = Page(results=[out(row) for row in shown])
    if shown and (backward or more):
        page.next = encode_cursor([place(shown[-1])])
    if shown and (more if backward else query.cursor is not None):
        page.previous = encode_cursor([place(shown[0])], backward=True)
    return page


def _offer(listed: Listed, terms: Terms, standing: Standing, shopper: Shopper) -> OfferOut:
    offer = listed.offer
    out = OfferOut(
        key=offer.key,
        contents=Contents(currencies=offer.currencies, items=offer.items),
        price=terms.prices[0] if terms.prices else {},
        products=offer.products,
        limit_per_player=offer.limit_per_player,
        left=standing.left,
        starts_at=utc(terms.starts_at) if terms.starts_at else None,
        ends_at=utc(terms.ends_at) if terms.ends_at else None,
        resets_at=utc(standing.resets_at) if standing.resets_at else UNSET,
        available_at=utc(standing.available_at) if standing.available_at else UNSET,
        entitlement=offer.entitlement or UNSET,
        giftable=offer.is_giftable or UNSET,
        properties=offer.texts.properties or UNSET,
    )
    if offer.reference_price is not None:
        currency, minor_units = offer.reference_price
        out.reference_price = Price(currency=currency, minor_units=minor_units)
    if len(terms.prices) > 1:
        out.prices = list(terms.prices)
    if terms.regular:
        out.regular_price = terms.regular[0]
        if len(terms.regular) > 1:
            out.regular_prices = list(terms.regular)
        if terms.sale_ends_at:
            out.sale_ends_at = utc(terms.sale_ends_at)
    if offer.texts.titles:
        out.title = text_for(offer.texts.titles, shopper.profile.locale) or UNSET
    if offer.texts.descriptions:
        out.description = text_for(offer.texts.descriptions, shopper.profile.locale) or UNSET
    return out


def _item(item: Item, shopper: Shopper) -> ItemOut:
    out = ItemOut(
        key=item.key,
        kind=item.kind,
        title=item.name,
        max_stack=item.max_stack,
        properties=item.texts.properties or UNSET,
    )
    if item.contents is not None:
        out.contents = Contents(
            currencies=dict(item.contents.currencies), items=dict(item.contents.items)
        )
    if item.texts.titles:
        out.title = text_for(item.texts.titles, shopper.profile.locale) or item.name
    if item.texts.descriptions:
        out.description = text_for(item.texts.descriptions, shopper.profile.locale) or UNSET
    return out
