"""Bundles: items that are never owned. Wherever one is granted, what is in it is."""

from collections.abc import Mapping

import msgspec

MAX_DEPTH = 4


class Contents(msgspec.Struct, frozen=True):
    """Amounts by currency and quantities by item."""

    currencies: Mapping[str, int] = {}
    items: Mapping[str, int] = {}


class BundleError(ValueError):
    """Bundles in bundles in bundles, or one that is in itself."""


def opened(contents: Contents, bundles: Mapping[str, Contents]) -> Contents:
    """`contents` with every bundle replaced by what is in it.

    Raises `BundleError` where more than `MAX_DEPTH` bundles are in each other, so also for one that
    contains itself.
    """
    if contents.items.keys().isdisjoint(bundles):
        return contents
    return _open(contents, bundles, {}, 0)[0]


def _open(
    contents: Contents,
    bundles: Mapping[str, Contents],
    done: dict[str, tuple[Contents, int]],
    depth: int,
) -> tuple[Contents, int]:
    """What is inside, and how many bundles deep. Each is opened once (`done`), however often it is
    named."""
    currencies = dict(contents.currencies)
    items: dict[str, int] = {}
    deepest = 0
    for key, quantity in contents.items.items():
        if key not in bundles:
            items[key] = items.get(key, 0) + quantity
            continue
        if depth < MAX_DEPTH and key not in done:
            done[key] = _open(bundles[key], bundles, done, depth + 1)
        inside, height = done.get(key, (contents, MAX_DEPTH))
        deepest = max(deepest, height + 1)
        if depth + deepest > MAX_DEPTH:
            raise BundleError(f"Bundles are at most {MAX_DEPTH} deep, and none is in itself: {key}")
        for total, amounts in ((currencies, inside.currencies), (items, inside.items)):
            for name, amount in amounts.items():
                total[name] = total.get(name, 0) + amount * quantity
    return Contents(currencies, items), deepest
