"""The Python client against the real application, over HTTP."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from clients.python.evenkeel_client import (
    EvenkeelError,
    Guest,
    PlayerClient,
    ServerClient,
    VersionConflictError,
)
from clients.python.evenkeel_client.player import uuid7

Join = Callable[..., PlayerClient]


def test_player__first_use__is_a_new_guest_with_what_the_game_gives(join: Join) -> None:
    guest = Guest.new()
    client = join(guest, platform="linux", app_version="1.0", device="Workbench")
    assert client.wallet()["petals"] == 100
    assert client.session is not None
    assert client.session["created"]
    again = join(guest)
    assert again.player_id == client.player_id
    profile = client.update_profile(display_name="Quiet Fern", analytics_consent=True)
    assert (profile["display_name"], profile["analytics_consent"]) == ("Quiet Fern", True)
    assert client.profile()["display_name"] == "Quiet Fern"


def test_save__two_devices__the_second_is_told_and_may_resolve(join: Join) -> None:
    guest = Guest.new()
    phone, tablet = join(guest, device="Phone"), join(guest, device="Tablet")
    first = phone.save("garden", b'{"flowers": 3}', content_type="application/json")
    assert (first["version"], first["device"]) == (1, "Phone")
    with pytest.raises(VersionConflictError) as conflict:
        tablet.save("garden", b'{"flowers": 2}')
    assert conflict.value.current is not None
    assert conflict.value.current["device"] == "Phone"

    def add_up(current: dict[str, Any], theirs: bytes, mine: bytes) -> bytes:
        assert current["version"] == 1
        total = json.loads(theirs)["flowers"] + json.loads(mine)["flowers"]
        return json.dumps({"flowers": total}).encode()

    merged = tablet.save("garden", b'{"flowers": 2}', resolve=add_up)
    assert (merged["version"], merged["device"]) == (2, "Tablet")
    with pytest.raises(VersionConflictError):
        phone.save("garden", b"{}")
    assert phone.load("garden") == b'{"flowers": 5}'
    assert phone.save("garden", b"{}")["version"] == 3


def test_save__whole_life_of_a_slot(join: Join) -> None:
    client, other = join(), join()
    assert client.load("garden") is None
    client.save("garden", b"one", access="public")
    client.save("garden", b"two")
    assert other.public_save(client.player_id, "garden") == b"two"
    assert [row["version"] for row in client.save_versions("garden")] == [2, 1]
    assert client.restore_save("garden", 1)["version"] == 3
    assert client.load("garden") == b"one"
    assert [row["slot"] for row in client.saves()] == ["garden"]
    client.delete_save("garden")
    assert client.saves() == []
    assert client.save("garden", b"again")["version"] == 4


def test_progress__stats_unlock_achievements(join: Join, server: ServerClient) -> None:
    client = join()
    done = client.report_stats(flowers_grown=100)
    assert [row["key"] for row in done["unlocked"]] == ["first_bloom", "green_thumb"]
    assert client.stats() == {"flowers_grown": 100}
    assert client.wallet()["petals"] == 160
    assert client.inventory() == {"seed_pack": 3}
    server.report_stats(client.player_id, {"visitors_welcomed": 10}, key="visit:1")
    server.report_stats(client.player_id, {"visitors_welcomed": 10}, key="visit:1")
    assert client.stats()["visitors_welcomed"] == 10
    assert client.report_achievement("tea_ceremony", 4)["unlocked_at"]
    unlocked = [row["key"] for row in client.achievements() if row["unlocked_at"]]
    assert unlocked == ["first_bloom", "green_thumb", "good_host", "tea_ceremony"]


def test_store__buy_and_consume(join: Join, server: ServerClient) -> None:
    client = join()
    assert "koi" in [offer["key"] for offer in client.offers()]
    bought = client.buy("seeds", quantity=2, expected_price={"petals": 20})
    assert bought["price"] == {"petals": 40}
    client.consume("seed_pack", 3)
    assert client.inventory() == {"seed_pack": 7}
    with pytest.raises(EvenkeelError) as refused:
        client.buy("stone_lantern")
    assert refused.value.code == "insufficient_funds"
    for _ in range(2):
        server.grant(client.player_id, reason="Welcome", currencies={"gems": 40}, key="welcome")
    assert client.wallet()["gems"] == 40


def test_leaderboards__score_and_ranks(join: Join, server: ServerClient) -> None:
    first, second = join(), join()
    assert first.submit_score("harvest", 500, {"beds": 2})["entry"]["rank"] == 1
    score = second.submit_score("harvest", 900)
    assert (score["verdict"], score["entry"]["rank"]) == ("accepted", 1)
    server.submit_score("harvest", first.player_id, 700, key="score:1")
    assert first.my_entry("harvest")["rank"] == 2
    assert [entry["score"] for entry in first.top("harvest")] == [900, 700]
    assert len(first.around_me("harvest")) == 2
    assert "harvest" in [board["key"] for board in first.leaderboards()]
    server.remove_entry("harvest", second.player_id)
    assert [entry["score"] for entry in first.top("harvest")] == [700]


def test_events__sent_once_and_kept_until_then(join: Join) -> None:
    client = join()
    client.update_profile(analytics_consent=True)
    for bed in range(3):
        client.track("bed_harvested", bed=bed)
    kept = list(client._events)
    assert client.flush()["accepted"] == 3
    client._events = kept
    assert client.flush() == {"accepted": 0, "duplicates": 3, "rejected": []}
    assert client.flush()["accepted"] == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM analytics_event WHERE name = 'bed_harvested'")
        assert cursor.fetchone()[0] == 3


def test_server__player_and_sanction__a_ban_ends_the_session(
    join: Join, server: ServerClient
) -> None:
    client = join()
    assert server.player(client.player_id)["id"] == client.player_id
    client.save("garden", b"x")
    assert server.read_save(client.player_id, "garden") == b"x"
    server.sanction(client.player_id, kind="ban", reason="Cheating")
    with pytest.raises(EvenkeelError) as refused:
        client.saves()
    assert refused.value.code == "player_banned"


def test_sign_out__next_call__signs_in_again(join: Join) -> None:
    client = join()
    player = client.player_id
    client.sign_out()
    assert client.session is None
    assert client.saves() == []
    assert client.player_id == player


def test_server__metrics(server: ServerClient) -> None:
    figures = server.metric("dau", first="2026-01-01", last="2026-01-02")
    assert figures["metric"] == "dau"


def test_uuid7__is_one() -> None:
    ids = [uuid7() for _ in range(100)]
    assert {(one.version, one.variant) for one in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == 100
    assert secrets.compare_digest(ids[0].bytes[:4], ids[-1].bytes[:4])
