"""Display names: what is taken, and how names are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import names
from config.api.problems import ValidationFailed


@pytest.mark.parametrize(
    ("given_name", "stored"),
    [
        ("Otter", "Otter"),
        ("  quiet \t\n otter ", "quiet otter"),
        ("Cafe\u0301", "Café"),
        ("名前", "名前"),
        ("محمد", "محمد"),
        ("Zoë 🦦", "Zoë 🦦"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("x" * 30, "x" * 30),
        ("नमस्ते", "नमस्ते"),
        ("a\u2028b\u2029", "a b"),  # separators of lines are white space
    ],
)
def test_clean__takes_names_of_people(given_name: str, stored: str) -> None:
    assert names.clean_display_name(given_name) == stored


@pytest.mark.parametrize(
    "refused",
    [
        "",
        "  ",
        "x" * 31,
        "a\u202eb",  # turns the text around
        "a\u2066b",
        "a\u200bb",  # zero width
        "a\u200db",  # a joiner between letters
        "\ufe0f",
        "a\x07b",
        "a\u00adb",  # soft hyphen
        "\u3164",  # Hangul filler: a letter that shows nothing
        "⠀",  # Braille blank
        "a\ue000b",  # private use
        "a\u0378b",  # not assigned
        "a#1234",
        "Z" + "\u0300\u0301\u0302\u0303\u0304\u0305",
    ],
)
def test_clean__refuses_what_can_not_be_seen_or_deceives(refused: str) -> None:
    with pytest.raises(ValidationFailed):
        names.clean_display_name(refused)


@given(st.text(max_size=60))
def test_clean__what_is_taken_stays_as_it_is(text: str) -> None:
    try:
        name = names.clean_display_name(text)
    except ValidationFailed:
        return
    assert 1 <= len(name) <= names.MAX_LENGTH
    assert names.clean_display_name(name) == name
    key = names.name_key(name)
    assert 1 <= len(key) <= 120
    assert names.name_key(key) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [("OTTER", "otter"), ("Ｏｔｔｅｒ", "otter"), ("Straße", "STRASSE"), ("ﬁn", "fin"), ("Å", "å")],
)
def test_key__folds(one: str, other: str) -> None:
    assert names.name_key(one) == names.name_key(other)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Otter#0042", ("Otter", 42)),
        ("Otter", ("Otter", None)),
        ("Otter#42", ("Otter#42", None)),
        ("#0042", ("#0042", None)),
    ],
)
def test_split_tag(text: str, parts: tuple[str, int | None]) -> None:
    assert names.split_tag(text) == parts


def test_guest_names__fit_and_are_pleasantly_many() -> None:
    assert len(set(names.ADJECTIVES)) * len(set(names.NOUNS)) * names.TAGS > 100_000_000
    for adjective in names.ADJECTIVES:
        assert names.clean_display_name(f"{adjective} {max(names.NOUNS, key=len)}")
    assert 0 <= names.random_tag() < names.TAGS
    assert names.clean_display_name(names.guest_name())


def test_email_key__folds() -> None:
    assert names.email_key(" Robin@EXAMPLE.com ") == "robin@example.com"
