"""What one player does in the garden, and what the server has confirmed of it."""

import json
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from clients.python.demo.people import Persona
from clients.python.demo.tally import Tally
from clients.python.evenkeel_client import (
    EvenkeelError,
    Guest,
    PlayerClient,
    ServerClient,
    Transport,
    UnreachableError,
)

# Refusals that belong to an ordinary day.
ORDINARY = {
    "insufficient_funds",
    "limit_reached",
    "cooling_down",
    "requirement_not_met",
    "offer_not_available",
    "stat_rate_exceeded",
    "insufficient_items",
    "insufficient_quantity",
}
BOARD = "harvest"


class Life:
    """One player through the day. Its `lock` keeps two visits from running at once.

    confirmed   what the server said that it has: stats, the best score, the save's digest
    unsure      what got no answer in the end, so that nothing can be said about it
    """

    def __init__(
        self,
        persona: Persona,
        transport: Transport,
        game_key: str,
        server: ServerClient | None,
        midnight: datetime,
        tally: Tally,
        seed: int,
    ) -> None:
        self.persona = persona
        self.server = server
        self.midnight = midnight
        self.tally = tally
        self.chance = random.Random(f"{seed}:{persona.number}")
        self.lock = threading.Lock()
        mine = transport.with_headers(
            X_Forwarded_For=persona.address, User_Agent=f"lantern-garden/{persona.app_version}"
        )
        guest = Guest.new()
        self.phone = PlayerClient(mine, game_key, guest, **persona.about)
        # The same guest on a second device, which is restored from the first one's backup.
        self.tablet = PlayerClient(mine, game_key, guest, **{**persona.about, "device": "iPad"})
        self.garden: dict[str, Any] = {"day": 1, "beds": 1, "flowers": 0}
        self.flowers = 0
        self.best: int | None = None
        self.save_digest: str | None = None
        self.unsure: set[str] = set()
        self.welcomed = False

    def visit(self, hour: float) -> None:
        """One visit, at an hour of the day."""
        with self.lock:
            if hour in self.persona.offline:
                self._play_offline(hour)
            elif self.persona.kind == "cheater":
                self._play(hour)
                self._cheat()
            else:
                self._play(hour)

    def _moment(self, hour: float, minutes: float) -> datetime:
        return self.midnight + timedelta(hours=hour, minutes=minutes)

    def _try(self, fact: str, act: Callable[[], Any]) -> Any:
        """Do something; an ordinary refusal is counted, anything else is a problem of the day."""
        try:
            done = act()
        except EvenkeelError as error:
            if error.code in ORDINARY:
                self.tally.refuse(error.code)
            else:
                self.tally.problem(f"{self.persona.name}, {fact}: {error}")
            return None
        except UnreachableError as error:
            self.unsure.add(fact)
            self.tally.problem(f"{self.persona.name}, {fact}: {error}")
            return None
        self.tally.count(fact)
        return done

    def _play(self, hour: float) -> None:
        client = self.phone
        if self._try("sign-ins", client.refresh) is None:
            return
        if not self.welcomed:
            self.welcomed = True
            self._try("profiles", self._introduce)
        client.track("visit_started", at=self._moment(hour, 0), hour=int(hour))
        beds = self.chance.randint(2, 5)
        for bed in range(beds):
            self._tend(client, hour, bed)
        self._try("scores", lambda: self._score(client, beds))
        if self.chance.random() < 0.7:
            self._try("board views", lambda: client.around_me(BOARD))
        if self.chance.random() < 0.3:
            self._try("board views", lambda: client.top(BOARD, limit=20))
        if self.persona.spends:
            self._shop(client)
        self._ceremony(client)
        client.track("visit_ended", at=self._moment(hour, 14), beds=beds)
        self._try("saves", lambda: self._save(client))
        if self.persona.has_tablet and self.chance.random() < 0.8:
            self._try("saves", lambda: self._save(self.tablet))
        self._try("event batches", lambda: self._flush(client))

    def _play_offline(self, hour: float) -> None:
        """On a train: nothing reaches the server until the next visit, only then with its time."""
        for bed in range(self.chance.randint(1, 4)):
            self.phone.track("bed_harvested", at=self._moment(hour, bed * 3), bed=bed)
            self.garden["flowers"] += 5
        self.tally.count("offline visits")

    def _introduce(self) -> None:
        client = self.phone
        changes: dict[str, Any] = {"analytics_consent": self.persona.consents}
        if self.persona.kind != "casual" or self.chance.random() < 0.4:
            changes["display_name"] = self.persona.name
        client.update_profile(**changes)

    def _tend(self, client: PlayerClient, hour: float, bed: int) -> None:
        grown = self.chance.randint(3, 40)
        updates = {
            "flowers_grown": grown,
            "longest_visit": self.chance.randint(60, 2400),
            "quickest_harvest": self.chance.randint(3500, 90_000),
        }
        if self.chance.random() < 0.6:
            updates["lanterns_lit"] = self.chance.randint(1, 9)
        done = self._try("stat reports", lambda: client.report_stats(**updates))
        if done is not None:
            self.flowers += grown
            self.tally.count("achievements unlocked", len(done["unlocked"]))
        elif "stat reports" in self.unsure:
            self.unsure.add("flowers")
        self.garden["flowers"] += grown
        client.track("bed_harvested", at=self._moment(hour, 2 + bed * 2.5), bed=bed, grown=grown)

    def _score(self, client: PlayerClient, beds: int) -> Any:
        score = sum(self.chance.randint(200, 2500) for _ in range(beds))
        answer = client.submit_score(BOARD, score, {"beds": beds})
        self.best = max(score, self.best or 0)
        if answer["entry"]["score"] != self.best:
            self.tally.problem(
                f"{self.persona.name}: best is {self.best}, the board says {answer['entry']}"
            )
        client.submit_score("stillness", self.chance.randint(30, 1800))
        return answer

    def _shop(self, client: PlayerClient) -> None:
        wallet = self._try("wallet views", client.wallet)
        if wallet is None:
            return
        wish = self.chance.choice(("koi", "seeds", "seeds", "evening_incense", "moss_bridge"))
        if self._try("purchases", lambda: client.buy(wish)) is not None and wish == "seeds":
            self._try("consumed", lambda: client.consume("seed_pack", self.chance.randint(1, 5)))
        if self.persona.pays and self.server is not None and self.chance.random() < 0.6:
            server, player = self.server, client.player_id
            # What the store's receipt would do: paid gems arrive, and something nice is bought.
            grant = self._try(
                "gem grants",
                lambda: server.grant(player, reason="Demo: gems_small", currencies={"gems": 100}),
            )
            if grant is not None:
                self._try("purchases", lambda: client.buy("stone_lantern"))

    def _ceremony(self, client: PlayerClient) -> None:
        if self.chance.random() < 0.25:
            step = self.chance.randint(1, 4)
            self._try(
                "achievement reports", lambda: client.report_achievement("tea_ceremony", step)
            )
        if self.chance.random() < 0.03:
            self._try("achievement reports", lambda: client.report_achievement("moonlit_koi", 1))
        if self.server is not None and self.chance.random() < 0.2:
            server, player = self.server, client.player_id
            self._try(
                "visitors welcomed",
                lambda: server.report_stats(player, {"visitors_welcomed": 1}),
            )

    def _save(self, client: PlayerClient) -> None:
        def keep_both(_: dict[str, Any], theirs: bytes, mine: bytes) -> bytes:
            self.tally.count("save conflicts resolved")
            here, there = json.loads(mine), json.loads(theirs)
            return json.dumps({key: max(here[key], there.get(key, 0)) for key in here}).encode()

        self.garden["beds"] += 1
        saved = client.save(
            "garden",
            json.dumps(self.garden).encode(),
            content_type="application/json",
            access="public" if self.persona.number % 3 == 0 else "private",
            resolve=keep_both,
        )
        self.save_digest = saved["sha256"]

    def _flush(self, client: PlayerClient) -> None:
        answer = client.flush()
        self.tally.count("events", answer["accepted"])
        for rejected in answer["rejected"]:
            self.tally.problem(f"{self.persona.name}: event rejected: {rejected}")

    def _cheat(self) -> None:
        """Things that must not work. Each has to be refused."""
        client = self.phone
        for code, attempt in {
            "score_out_of_bounds": lambda: client.submit_score(BOARD, 10**9),
            "stat_step_too_large": lambda: client.report_stats(flowers_grown=999_999),
            "stat_not_writable": lambda: client.report_stats(visitors_welcomed=500),
            "achievement_not_reportable": lambda: client.report_achievement("meadow", 5000),
            "insufficient_funds": lambda: client.buy("stone_lantern", quantity=4),
            "forbidden": self._grant_to_self,
            "not_authenticated": self._forge,
        }.items():
            try:
                attempt()
            except EvenkeelError as error:
                self.tally.caught(error.code)
                if error.code != code:
                    self.tally.problem(f"A cheat was refused as {error.code}, not {code}")
            except UnreachableError as error:
                self.tally.problem(f"{self.persona.name}: {error}")
            else:
                self.tally.problem(f"A cheat came through: {code}")

    def _grant_to_self(self) -> None:
        self._call_as_player(
            "POST",
            f"/v1/players/{self.phone.player_id}/grants",
            {"reason": "please", "currencies": {"gems": 1000}},
        )

    def _forge(self) -> None:
        self._call_as_player("GET", "/v1/players/me", signature="A" * 86)

    def _call_as_player(
        self, method: str, path: str, body: Any = None, *, signature: str = ""
    ) -> None:
        """A call without the client's care for tokens; with a signature of one's own, if any."""
        token = (self.phone.session or self.phone.sign_in())["access"]
        if signature:
            token = f"{token.rpartition('.')[0]}.{signature}"
        self.phone.transport.call(
            method, path, headers={"Authorization": f"Bearer {token}"}, body=body
        )
