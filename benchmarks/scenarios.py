"""What is measured. Each scenario is a script of the same name in benchmarks/lua."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """`first` and `goal` are targets a second on the machine of docs/performance.md under
    granian; `factor` turns requests into what is counted (events)."""

    name: str
    title: str
    first: int | None = None
    goal: int | None = None
    factor: int = 1


FLOOR = Scenario("floor", "floor: a bare WSGI callable")
SCENARIOS = (
    Scenario("profile", "own profile", 4_500, 7_800),
    Scenario("sign_in_existing", "sign-in, existing guest", 3_500, 7_500),
    Scenario("sign_in_new", "sign-in, new guest", 1_500, 2_800),
    Scenario("score_write", "score write", 2_300, 4_300),
    Scenario("around_me", "around me, 11 entries", 3_500, 6_500),
    Scenario("top_100", "top 100", 4_500, 12_000),
    Scenario("save_read_1k", "save read, 1 KB", 4_500, 7_800),
    Scenario("save_write_1k", "save write, 1 KB", 2_000, 3_600),
    Scenario("save_read_32k", "save read, 32 KB"),
    Scenario("save_write_32k", "save write, 32 KB", 1_200, 2_400),
    Scenario("purchase", "purchase", 1_200, 2_700),
    # The design has no figure for it: a read of one's own like the profile.
    Scenario("wallet_read", "wallet read", 4_500, 7_800),
    Scenario("events_100", "events, batches of 100 (events/s)", 40_000, 100_000, 100),
)
