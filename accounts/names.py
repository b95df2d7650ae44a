"""Display names and e-mail addresses: what is allowed, and how they are compared."""

import re
import secrets
import unicodedata

from config.api.parsing import invalid

MAX_LENGTH = 30
TAGS = 10_000
# Greater than every character that can follow, in collation C.
AFTER_ALL = "\U0010ffff"
_SPACES = re.compile(r"\s+")
_TAG = re.compile(r"(.+)#(\d{4})", re.DOTALL)
# Unicode categories: control, format (zero-width, bidirectional marks), surrogate, private use,
# not assigned, line and paragraph separators.
_REFUSED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Letters that show nothing, though Unicode calls them letters or symbols.
_INVISIBLE = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\u034f"}
# Emoji are sequences with a zero-width joiner and a variation selector; these two may stay
# between other characters.
_JOINERS = {"\u200d", "\ufe0f"}
MAX_MARKS = 3

ADJECTIVES = """
Amber Azure Balmy Breezy Bright Brisk Calm Candid Cheery Clear Cloudy Cosy Crisp Curious
Dapper Dawn Deep Dewy Drifting Dusky Eager Early Easy Fair Fleet Floating Fond Fresh Gentle
Gilded Glad Gleaming Golden Graceful Happy Hazy Hidden Honest Hushed Idle Indigo Ivory Jolly
Keen Kind Lazy Leafy Light Little Lively Lone Lucky Lunar Mellow Merry Mild Misty Mossy
Noble Ocean Olive Opal Patient Peaceful Pearl Placid Plucky Proud Quick Quiet Rosy Royal
Russet Sandy Serene Shady Shining Silent Silver Sleepy Slow Snowy Soft Solar Spring Spry
Starry Steady Still Summer Sunny Sweet Swift Tender Tidal Tidy Tranquil Velvet Verdant Warm
Wandering Whispering Wild Windy Winter Wise Witty Wooden Young Zesty
""".split()  # noqa: SIM905 (a list of a hundred strings is harder to read)
NOUNS = """
Acorn Alder Anchor Aspen Badger Bamboo Barley Bay Beacon Beaver Birch Blossom Bough Breeze
Brook Canoe Canyon Cedar Cherry Cliff Clover Cloud Comet Coral Cove Crane Creek Cricket
Daisy Deer Delta Dolphin Dove Dune Eider Ember Falcon Fern Field Finch Fjord Forest Fox
Garden Glade Grove Gull Harbor Hare Hazel Heron Hill Hollow Inlet Iris Island Ivy Jay
Juniper Koi Lagoon Lake Lantern Lark Laurel Leaf Lily Linden Lotus Lynx Maple Marsh Meadow
Moon Moss Moth Oak Orchard Orchid Osprey Otter Owl Palm Panda Pebble Petal Pine Plover Pond
Poppy Puffin Quail Rain Raven Reed Reef Ridge River Robin Rowan Sail Seal Shell Shore Sky
Sparrow Spruce Star Stone Stream Swallow Swan Thistle Tide Trail Trout Tulip Valley Violet
Wave Whale Willow Wren
""".split()  # noqa: SIM905 (a list of a hundred strings is harder to read)


def clean_display_name(text: str, pointer: str = "/display_name") -> str:
    """A display name as it is stored: NFC, spaces single and trimmed.

    Raises `ValidationFailed` for fewer than 1 or more than 30 characters, for characters that
    can't be seen or that turn the text around, `#` (it separates the tag), and stacks of marks.
    """
    name = _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()
    if not 1 <= len(name) <= MAX_LENGTH:
        raise invalid(pointer, f"A display name has 1 to {MAX_LENGTH} characters", "invalid_length")
    if "#" in name:
        raise invalid(pointer, "A display name has no #", "invalid_character")
    marks = 0
    for index, character in enumerate(name):
        inside = 0 < index < len(name) - 1 or character == "\ufe0f"
        if character in _JOINERS and inside and unicodedata.category(name[index - 1]) == "So":
            continue
        category = unicodedata.category(character)
        if category in _REFUSED or character in _INVISIBLE or character in _JOINERS:
            raise invalid(
                pointer,
                "A display name has no invisible or control characters",
                "invalid_character",
            )
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > MAX_MARKS:
            raise invalid(pointer, "Too many marks on one letter", "invalid_character")
    return name


def name_key(name: str) -> str:
    """What names are compared and searched by: compatibility forms and case folded (NFKC)."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return _SPACES.sub(" ", folded).strip()[:120]


def split_tag(text: str) -> tuple[str, int | None]:
    """`Quiet Otter#0042` as ("Quiet Otter", 42); without a tag (text, None)."""
    match = _TAG.fullmatch(text.strip())
    return (match[1], int(match[2])) if match else (text, None)


def email_key(address: str) -> str:
    """What e-mail addresses are compared by. Providers treat capitals alike."""
    return unicodedata.normalize("NFC", address).strip().casefold()[:254]


def random_tag() -> int:
    return secrets.randbelow(TAGS)


def guest_name() -> str:
    """A pleasant name for a new guest."""
    return f"{secrets.choice(ADJECTIVES)} {secrets.choice(NOUNS)}"
