"""Who plays: devices, habits, and the hours of their visits."""

import random
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["casual", "regular", "devoted", "cheater"]

NAMES = [
    "Aiko",
    "Birch",
    "Clover",
    "Dune",
    "Ember",
    "Fern",
    "Ginkgo",
    "Hazel",
    "Iris",
    "Juniper",
    "Kestrel",
    "Linden",
    "Maple",
    "Nettle",
    "Opal",
    "Pebble",
    "Quill",
    "Rowan",
    "Sorrel",
    "Thistle",
    "Umber",
    "Violet",
    "Willow",
    "Yarrow",
    "Zinnia",
    "Heron",
    "Otter",
    "Finch",
    "Moss",
]
EPITHETS = [
    "Quiet",
    "Gentle",
    "Sleepy",
    "Mossy",
    "Early",
    "Amber",
    "Silver",
    "Drifting",
    "Little",
    "Patient",
]
PLATFORMS = {"ios": 0.42, "android": 0.45, "webgl": 0.13}
DEVICES = {
    "ios": ("iPhone 17", "iPhone SE", "iPad Air"),
    "android": ("Pixel 9", "Galaxy A55", "Fairphone 6", "Moto G"),
    "webgl": ("Firefox", "Chrome"),
}
COUNTRIES = {
    "DE": ("de-DE", "Europe/Berlin"),
    "JP": ("ja-JP", "Asia/Tokyo"),
    "US": ("en-US", "America/Chicago"),
    "BR": ("pt-BR", "America/Sao_Paulo"),
    "FR": ("fr-FR", "Europe/Paris"),
    "IN": ("en-IN", "Asia/Kolkata"),
    "SE": ("sv-SE", "Europe/Stockholm"),
}
KINDS: dict[Kind, float] = {"casual": 0.55, "regular": 0.30, "devoted": 0.11, "cheater": 0.04}
VISITS: dict[Kind, tuple[int, int]] = {
    "casual": (1, 2),
    "regular": (2, 3),
    "devoted": (3, 5),
    "cheater": (1, 2),
}


@dataclass(frozen=True)
class Persona:
    """One player of the day."""

    number: int
    kind: Kind
    name: str
    platform: str
    device: str
    app_version: str
    country: str
    consents: bool
    spends: bool
    pays: bool
    has_tablet: bool
    address: str
    # Hours of the day at which the visits begin; those in `offline` have no network.
    hours: tuple[float, ...] = field(default=())
    offline: frozenset[float] = frozenset()

    @property
    def about(self) -> dict[str, str]:
        """What the client says about itself at sign-in."""
        locale, timezone = COUNTRIES[self.country]
        return {
            "device": self.device,
            "platform": self.platform,
            "app_version": self.app_version,
            "locale": locale,
            "country": self.country,
            "timezone": timezone,
        }


def _choose(weights: dict[Kind, float], chance: random.Random) -> Kind:
    return chance.choices(list(weights), list(weights.values()))[0]


def make_people(count: int, chance: random.Random) -> list[Persona]:
    """`count` players; the same seed makes the same people."""
    people = []
    for number in range(count):
        # A demo of any size has cheaters in it, or it would not show what becomes of them.
        kind: Kind = "cheater" if number % 25 == 24 else _choose(KINDS, chance)
        platform = chance.choices(list(PLATFORMS), list(PLATFORMS.values()))[0]
        low, high = VISITS[kind]
        hours = sorted(
            min(23.5, max(0.2, chance.gauss(chance.choice((8, 13, 20)), 1.8)))
            for _ in range(chance.randint(low, high))
        )
        offline = frozenset(hour for hour in hours[:-1] if chance.random() < 0.18)
        people.append(
            Persona(
                number=number,
                kind=kind,
                name=f"{chance.choice(EPITHETS)} {chance.choice(NAMES)}",
                platform=platform,
                device=chance.choice(DEVICES[platform]),
                app_version=chance.choice(("1.4.0", "1.4.0", "1.4.1", "1.3.2")),
                country=chance.choice(list(COUNTRIES)),
                consents=chance.random() < 0.86,
                spends=chance.random() < 0.6,
                pays=kind == "devoted" and chance.random() < 0.5,
                has_tablet=kind != "cheater" and chance.random() < 0.12,
                address=f"100.64.{number // 250}.{number % 250 + 1}",
                hours=tuple(hours),
                offline=offline,
            )
        )
    return people
