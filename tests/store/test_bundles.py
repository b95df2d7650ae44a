"""Opening bundles, whatever is in what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.bundles import MAX_DEPTH, BundleError, Contents, opened

ITEMS = ["koi", "seeds"]
BUNDLES = ["a", "b", "c", "d"]
QUANTITIES = st.integers(1, 9)
ANY_CONTENTS = st.builds(
    Contents,
    st.dictionaries(st.just("gems"), QUANTITIES),
    st.dictionaries(st.sampled_from(ITEMS + BUNDLES), QUANTITIES, max_size=4),
)


def by_hand(contents: Contents, bundles: dict[str, Contents], depth: int = 0) -> list[str]:
    """Everything, one by one."""
    found = [key for key, amount in contents.currencies.items() for _ in range(amount)]
    for key, quantity in contents.items.items():
        if key not in bundles:
            found += [key] * quantity
        elif depth == MAX_DEPTH:
            raise BundleError
        else:
            found += by_hand(bundles[key], bundles, depth + 1) * quantity
    return found


@given(contents=ANY_CONTENTS, bundles=st.dictionaries(st.sampled_from(BUNDLES), ANY_CONTENTS))
def test_opened__as_one_by_one_or_refused(contents: Contents, bundles: dict[str, Contents]) -> None:
    # Those that are in themselves are refused by both; counting them by hand would take long.
    try:
        inside = opened(contents, bundles)
    except BundleError:
        return
    total = sum(inside.currencies.values()) + sum(inside.items.values())
    assert inside.items.keys().isdisjoint(bundles)
    if total < 50_000:
        everything = by_hand(contents, bundles)
        assert len(everything) == total
        for key, quantity in {**inside.currencies, **inside.items}.items():
            assert everything.count(key) == quantity


def test_opened__in_itself__refused() -> None:
    loop = {"a": Contents(items={"b": 1}), "b": Contents(items={"a": 1})}
    for key in loop:
        with pytest.raises(BundleError, match="none is in itself"):
            opened(Contents(items={key: 1}), loop)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_opened__deep_in_one_way_alone__refused_in_any_order(order: tuple[str, str]) -> None:
    chain = {str(n): Contents(items={str(n + 1) if n < 3 else "koi": 1}) for n in range(4)}
    bundles = {"a": Contents(items={"0": 1}), "b": Contents(items={"1": 1}), **chain}
    with pytest.raises(BundleError):
        opened(Contents(items=dict.fromkeys(order, 1)), bundles)


def test_opened__the_same_bundle_on_many_ways__opened_once() -> None:
    """A hundred ways at each of four levels would be a hundred million."""
    levels = {
        f"b{level}-{number}": Contents(
            items={f"b{level + 1}-{other}": 1 for other in range(100)} if level < 3 else {"koi": 1}
        )
        for level in range(4)
        for number in range(100)
    }
    inside = opened(Contents(items={"b0-0": 1}), levels)
    assert inside.items == {"koi": 100**3}
