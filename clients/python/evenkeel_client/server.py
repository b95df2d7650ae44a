"""A game server or studio tool: acts for any player of its game, within its key's scopes."""

import uuid
from typing import Any, cast
from urllib.parse import quote

from . import shapes
from .transport import Answer, Transport


class ServerClient:
    """Calls with a secret key. Every write takes `key`, its `Idempotency-Key`: use one that belongs
    to the fact ("quest-7:player-3"), and repeating the fact does it once."""

    def __init__(self, transport: Transport, secret_key: str) -> None:
        self.transport = transport
        self._headers = {"Authorization": f"Api-Key {secret_key}"}

    def player(self, player_id: str) -> dict[str, Any]:
        return cast(dict[str, Any], self._call("GET", f"/v1/players/{quote(player_id)}").json())

    def grant(
        self,
        player_id: str,
        *,
        reason: str,
        currencies: dict[str, int] | None = None,
        items: dict[str, int] | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Give a player currencies and items, once for each `key`."""
        body: dict[str, Any] = {"reason": reason}
        if currencies:
            body["currencies"] = currencies
        if items:
            body["items"] = items
        answer = self._call("POST", f"/v1/players/{quote(player_id)}/grants", body, key=key)
        return cast(dict[str, Any], answer.json())

    def report_stats(
        self, player_id: str, values: dict[str, int], *, key: str | None = None
    ) -> shapes.StatsUpdated:
        """Report stats of a player, also those that only the server writes."""
        updates = [{"stat": stat, "value": value} for stat, value in values.items()]
        path = f"/v1/players/{quote(player_id)}/stats"
        answer = self._call("POST", path, {"updates": updates}, key=key)
        return cast(shapes.StatsUpdated, answer.json())

    def read_save(self, player_id: str, slot: str) -> bytes:
        return self._call("GET", f"/v1/players/{quote(player_id)}/saves/{quote(slot)}").content

    def submit_score(
        self, board: str, player_id: str, score: int, *, key: str | None = None
    ) -> shapes.Score:
        path = f"/v1/leaderboards/{quote(board)}/scores"
        answer = self._call("POST", path, {"player": player_id, "score": score}, key=key)
        return cast(shapes.Score, answer.json())

    def remove_entry(self, board: str, player_id: str) -> None:
        self._call("DELETE", f"/v1/leaderboards/{quote(board)}/entries/{quote(player_id)}")

    def sanction(
        self, player_id: str, *, kind: str, reason: str, ends_at: str | None = None
    ) -> dict[str, Any]:
        """`kind`: warning, suspension, ban or shadow_ban. `ends_at`: RFC 3339; None: no end."""
        body: dict[str, Any] = {"kind": kind, "reason": reason}
        if ends_at is not None:
            body["ends_at"] = ends_at
        answer = self._call("POST", f"/v1/players/{quote(player_id)}/sanctions", body)
        return cast(dict[str, Any], answer.json())

    def metric(self, metric: str, *, first: str, last: str, by: str = "day") -> dict[str, Any]:
        """A metric's values from day `first` to day `last` (YYYY-MM-DD, the game's days)."""
        params: dict[str, str | int] = {"metric": metric, "from": first, "to": last, "by": by}
        answer = self._call("GET", "/v1/analytics/metrics", params=params)
        return cast(dict[str, Any], answer.json())

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        params: dict[str, str | int] | None = None,
    ) -> Answer:
        headers = dict(self._headers)
        if method == "POST":
            headers["Idempotency-Key"] = key or str(uuid.uuid4())
        return self.transport.call(method, path, headers=headers, body=body, params=params)
