"""What the server answers with, as in the API's documentation."""

from typing import Any, Literal, NotRequired, TypedDict

Access = Literal["private", "public", "server"]


class Player(TypedDict):
    id: str
    display_name: str
    tag: str
    avatar: str
    locale: NotRequired[str]
    country: NotRequired[str]
    timezone: NotRequired[str]
    is_guest: NotRequired[bool]
    is_tester: NotRequired[bool]
    created_at: NotRequired[str]


class Session(TypedDict):
    access: str
    refresh: str
    expires_in: int
    session: str
    player: Player
    created: bool


class Save(TypedDict):
    slot: str
    version: int
    access: Access
    size: int
    sha256: str
    content_type: str
    device: str
    updated_at: str
    restored_from: NotRequired[int]


class Stat(TypedDict):
    stat: str
    value: int
    updated_at: str


class Achievement(TypedDict):
    key: str
    name: str | None
    description: str | None
    progress: int | None
    threshold: int | None
    hidden: bool
    unlocked_at: str | None
    reward: dict[str, dict[str, int]] | None


class StatsUpdated(TypedDict):
    results: list[Stat]
    unlocked: list[Achievement]


class Entry(TypedDict):
    rank: int | None
    score: int
    achieved_at: str
    metadata: NotRequired[Any]
    player: NotRequired[Player]
    percentile: NotRequired[float]
    total: NotRequired[int]


class Score(TypedDict):
    verdict: Literal["accepted", "held"]
    entry: Entry
    improved: bool
    previous_rank: int | None
    season: Any


class Balance(TypedDict):
    currency: str
    balance: int
    paid: int
    earned: int


class Purchase(TypedDict):
    id: str
    offer: str
    quantity: int
    price: dict[str, int]
    granted: dict[str, dict[str, int]]
    balances: list[Balance]


class EventsAccepted(TypedDict):
    accepted: int
    duplicates: int
    rejected: list[dict[str, Any]]
