"""One player on one device: what a game client does."""

import base64
import hashlib
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

from . import shapes
from .errors import EvenkeelError, VersionConflictError
from .transport import Answer, Transport

MAX_EVENTS = 500
KEPT_EVENTS = 5_000


@dataclass(frozen=True)
class Guest:
    """A guest's credentials: made once, kept on the device. The secret signs the player in."""

    device_id: str
    device_secret: str

    @classmethod
    def new(cls) -> "Guest":
        return cls(str(uuid.uuid4()), secrets.token_urlsafe(32))


# What to write instead after a conflict: (current version, its bytes, mine) → bytes.
Resolve = Callable[[dict[str, Any], bytes, bytes], bytes]


class PlayerClient:
    """Signs in when it has to, and repeats what got no answer without doing it twice.

    `about` goes with each sign-in: `device` (its name), `platform`, `app_version`, `locale`,
    `country`, `timezone`. Methods raise `EvenkeelError` where the server refuses, and
    `UnreachableError` where it can't be reached. One object may be used by several threads.
    """

    def __init__(self, transport: Transport, game_key: str, guest: Guest, **about: str) -> None:
        self.transport = transport
        self.game_key = game_key
        self.guest = guest
        self.about = about
        self.session: shapes.Session | None = None
        self._expires = 0.0
        self._lock = threading.RLock()
        self._versions: dict[str, int] = {}
        self._events: list[dict[str, Any]] = []

    # Sessions.

    def sign_in(self) -> shapes.Session:
        """Sign this device in; the first time makes a player."""
        body = {
            "method": "device",
            "device_id": self.guest.device_id,
            "device_secret": self.guest.device_secret,
            "create": True,
            **self.about,
        }
        return self._start("/v1/sessions", body)

    def refresh(self) -> shapes.Session:
        """A new pair of tokens; signs in again where the session has ended."""
        with self._lock:
            if self.session is None:
                return self.sign_in()
            try:
                return self._start("/v1/sessions/refresh", {"refresh": self.session["refresh"]})
            except EvenkeelError as error:
                if error.status != 401:
                    raise
                return self.sign_in()

    def sign_out(self) -> None:
        """End this session."""
        if self.session is not None:
            self._call("DELETE", "/v1/sessions/current")
            self.session = None

    @property
    def player_id(self) -> str:
        """The player's id; signs in if that was not done yet."""
        session = self.session or self.sign_in()
        return session["player"]["id"]

    def _start(self, path: str, body: dict[str, Any]) -> shapes.Session:
        with self._lock:
            headers = {"X-Game-Key": self.game_key}
            answer = self.transport.call("POST", path, headers=headers, body=body)
            session = cast(shapes.Session, answer.json())
            if self.session is not None:
                # A refresh need not say again who the player is.
                session = cast(shapes.Session, {**self.session, **session})
            self.session = session
            self._expires = time.monotonic() + float(session["expires_in"])
            return session

    def _token(self) -> str:
        with self._lock:
            if self.session is None:
                return self.sign_in()["access"]
            if time.monotonic() > self._expires - 30:
                return self.refresh()["access"]
            return self.session["access"]

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        params: dict[str, str | int] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if method == "POST":
            # One key for the call, also when it is repeated with a new token.
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        token = self._token()
        for last in (False, True):
            sent["Authorization"] = f"Bearer {token}"
            try:
                return self.transport.call(
                    method, path, headers=sent, body=body, content=content, params=params
                )
            except EvenkeelError as error:
                if error.status != 401 or last:
                    raise
                with self._lock:
                    is_current = self.session is not None and self.session["access"] == token
                    token = self.refresh()["access"] if is_current else self._token()
        raise AssertionError("unreachable")

    # Profile.

    def profile(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._call("GET", "/v1/players/me").json())

    def update_profile(self, **changes: Any) -> dict[str, Any]:
        """Change `display_name`, `avatar`, `locale`, `analytics_consent` and so on.

        What another device changed meanwhile stays, unless this changes the same field.
        """
        while True:
            seen = self._call("GET", "/v1/players/me").headers["ETag"]
            try:
                answer = self._call("PATCH", "/v1/players/me", changes, headers={"If-Match": seen})
            except VersionConflictError:
                continue
            return cast(dict[str, Any], answer.json())

    # Saves.

    def saves(self) -> list[shapes.Save]:
        return cast(list[shapes.Save], self._call("GET", "/v1/saves").json()["results"])

    def load(self, slot: str) -> bytes | None:
        """A save's bytes; None where the slot is empty. Remembers the version for `save`."""
        try:
            answer = self._call("GET", f"/v1/saves/{quote(slot)}")
        except EvenkeelError as error:
            if error.status != 404:
                raise
            self._versions.pop(slot, None)
            return None
        self._versions[slot] = _version(answer)
        return answer.content

    def save(
        self,
        slot: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        access: shapes.Access | None = None,
        resolve: Resolve | None = None,
    ) -> shapes.Save:
        """Write a slot over the version that this client has seen last.

        If another device wrote in between: `resolve` is given that version and both contents and
        says what to write; without it `VersionConflictError` is raised: ask the player.
        """
        for _ in range(5):
            try:
                return self._put(slot, data, content_type, access)
            except VersionConflictError as conflict:
                if resolve is None:
                    raise
                theirs = self.load(slot)
                if theirs is not None:
                    data = resolve(conflict.current or {}, theirs, data)
                access = None
        return self._put(slot, data, content_type, access)

    def _put(
        self, slot: str, data: bytes, content_type: str, access: shapes.Access | None
    ) -> shapes.Save:
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        headers = {"Content-Type": content_type, "Content-Digest": f"sha-256=:{digest}:"}
        seen = self._versions.get(slot)
        if seen is None:
            headers["If-None-Match"] = "*"
        else:
            headers["If-Match"] = f'"{seen}"'
        answer = self._call(
            "PUT",
            f"/v1/saves/{quote(slot)}",
            headers=headers,
            content=data,
            params={"access": access} if access and seen is None else None,
        )
        self._versions[slot] = _version(answer)
        return cast(shapes.Save, answer.json())

    def delete_save(self, slot: str) -> None:
        """Delete a slot, in the version that this client has seen last."""
        seen = self._versions.get(slot)
        tag = "*" if seen is None else f'"{seen}"'
        self._call("DELETE", f"/v1/saves/{quote(slot)}", headers={"If-Match": tag})
        self._versions.pop(slot, None)

    def save_versions(self, slot: str) -> list[shapes.Save]:
        answer = self._call("GET", f"/v1/saves/{quote(slot)}/versions")
        return cast(list[shapes.Save], answer.json()["results"])

    def restore_save(self, slot: str, version: int) -> shapes.Save:
        answer = self._call("POST", f"/v1/saves/{quote(slot)}/versions/{version}/restore")
        self._versions[slot] = _version(answer)
        return cast(shapes.Save, answer.json())

    def public_save(self, player_id: str, slot: str) -> bytes:
        """Another player's public save."""
        return self._call("GET", f"/v1/players/{quote(player_id)}/saves/{quote(slot)}").content

    # Stats and achievements.

    def stats(self) -> dict[str, int]:
        return {row["stat"]: row["value"] for row in self._all("/v1/stats")}

    def report_stats(self, **values: int) -> shapes.StatsUpdated:
        """Report stats, all or none: how much more of a sum, or the value itself."""
        updates = [{"stat": stat, "value": value} for stat, value in values.items()]
        answer = self._call("POST", "/v1/stats", {"updates": updates})
        return cast(shapes.StatsUpdated, answer.json())

    def achievements(self) -> list[shapes.Achievement]:
        return cast(list[shapes.Achievement], self._all("/v1/achievements"))

    def report_achievement(self, key: str, progress: int) -> shapes.Achievement:
        path = f"/v1/achievements/{quote(key)}/progress"
        return cast(shapes.Achievement, self._call("POST", path, {"progress": progress}).json())

    # Leaderboards.

    def leaderboards(self) -> list[dict[str, Any]]:
        return self._all("/v1/leaderboards")

    def submit_score(self, board: str, score: int, metadata: Any = None) -> shapes.Score:
        body: dict[str, Any] = {"score": score}
        if metadata is not None:
            body["metadata"] = metadata
        path = f"/v1/leaderboards/{quote(board)}/scores"
        return cast(shapes.Score, self._call("POST", path, body).json())

    def top(self, board: str, *, limit: int = 50) -> list[shapes.Entry]:
        return self._entries(board, {"limit": limit})

    def around_me(self, board: str, *, limit: int = 11) -> list[shapes.Entry]:
        return self._entries(board, {"around": "me", "limit": limit})

    def my_entry(self, board: str) -> shapes.Entry:
        path = f"/v1/leaderboards/{quote(board)}/entries/me"
        return cast(shapes.Entry, self._call("GET", path).json())

    def _entries(self, board: str, params: dict[str, str | int]) -> list[shapes.Entry]:
        answer = self._call("GET", f"/v1/leaderboards/{quote(board)}/entries", params=params)
        return cast(list[shapes.Entry], answer.json()["results"])

    # Store.

    def offers(self) -> list[dict[str, Any]]:
        return self._all("/v1/store/offers")

    def wallet(self) -> dict[str, int]:
        """Balances by currency."""
        balances = self._call("GET", "/v1/store/wallet").json()["balances"]
        return {row["currency"]: row["balance"] for row in balances}

    def inventory(self) -> dict[str, int]:
        """Quantities by item."""
        return {row["item"]: row["quantity"] for row in self._all("/v1/store/inventory")}

    def buy(
        self, offer: str, *, quantity: int = 1, expected_price: dict[str, int] | None = None
    ) -> shapes.Purchase:
        """Buy with virtual currency. `expected_price` is what the player was shown, for one."""
        body: dict[str, Any] = {"offer": offer, "quantity": quantity}
        if expected_price is not None:
            body["expected_price"] = expected_price
        return cast(shapes.Purchase, self._call("POST", "/v1/store/purchases", body).json())

    def consume(self, item: str, quantity: int = 1) -> dict[str, Any]:
        path = f"/v1/store/inventory/{quote(item)}/consume"
        return cast(dict[str, Any], self._call("POST", path, {"quantity": quantity}).json())

    # Events.

    def track(self, name: str, *, at: datetime | None = None, **props: Any) -> None:
        """Remember an event; `flush` sends it. The oldest go when there are too many."""
        moment = (at or datetime.now(UTC)).astimezone(UTC)
        event = {
            "id": str(uuid7()),
            "name": name,
            "at": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "props": props,
        }
        with self._lock:
            self._events.append(event)
            del self._events[:-KEPT_EVENTS]

    def flush(self) -> shapes.EventsAccepted:
        """Send what was tracked. What the server did not answer for stays for the next time."""
        total: shapes.EventsAccepted = {"accepted": 0, "duplicates": 0, "rejected": []}
        while True:
            with self._lock:
                batch = self._events[:MAX_EVENTS]
            if not batch:
                return total
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            answer = self._call("POST", "/v1/events", {"events": batch, "sent_at": now}).json()
            total["accepted"] += answer["accepted"]
            total["duplicates"] += answer["duplicates"]
            total["rejected"] += answer["rejected"]
            sent = {event["id"] for event in batch}
            with self._lock:
                self._events = [event for event in self._events if event["id"] not in sent]

    def get(self, path: str, params: dict[str, str | int] | None = None) -> Any:
        """Any other GET, such as a page of a list."""
        return self._call("GET", path, params=params).json()

    def _all(self, path: str) -> list[Any]:
        """Every page of a list."""
        rows: list[Any] = []
        params: dict[str, str | int] = {"limit": 200}
        while True:
            page = self._call("GET", path, params=params).json()
            rows += page["results"]
            if not page.get("next"):
                return rows
            params["cursor"] = page["next"]


def _version(answer: Answer) -> int:
    return int(answer.headers["ETag"].strip('"'))


def uuid7() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): the milliseconds of now, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return uuid.UUID(int=value)
