"""Saves over HTTP: versions, preconditions, bytes as sent, limits, whose they are."""

import base64
import gzip
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config import hooks
from progress.models import Save, SaveVersion
from progress.tasks import purge_deleted_saves
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, server_client_of

BYTES = "application/octet-stream"
JSON = "application/json"


def put(client: ApiClient, body: bytes = b"garden", slot: str = "main", **options: str) -> Any:
    """Write a slot: creates it unless `if_match` says which version is replaced."""
    query = options.pop("query", "")
    path = options.pop("path", f"/v1/saves/{slot}") + query
    content_type = options.pop("content_type", BYTES)
    if "if_match" not in options:
        options.setdefault("if_none_match", "*")
    return client.call("PUT", path, body, content_type=content_type, **options)


def test_put__new_slot__201_with_version_one(player_client: PlayerClient) -> None:
    answer = put(player_client, b"\x00\xffgarden")
    assert answer.status_code == 201, answer.content
    assert answer["ETag"] == '"1"'
    save = answer.json()
    assert save == {
        "slot": "main",
        "version": 1,
        "access": "private",
        "size": 8,
        "sha256": hashlib.sha256(b"\x00\xffgarden").hexdigest(),
        "content_type": BYTES,
        "device": save["device"],
        "updated_at": save["updated_at"],
    }
    assert save["updated_at"].endswith("Z")


def test_put__device__is_that_of_the_session(player_client: PlayerClient) -> None:
    sessions = player_client.get("/v1/sessions").json()["results"]
    assert put(player_client).json()["device"] == sessions[0]["device"]


def test_put__seen_version__200_with_the_next(player_client: PlayerClient) -> None:
    put(player_client)
    answer = put(player_client, b"more", if_match='"1"', content_type=JSON)
    assert answer.status_code == 200
    assert (answer["ETag"], answer.json()["content_type"]) == ('"2"', JSON)
    read = player_client.get("/v1/saves/main")
    assert (read.content, read["Content-Type"], read["ETag"]) == (b"more", JSON, '"2"')


def test_put__without_precondition__428(player_client: PlayerClient) -> None:
    answer = player_client.call("PUT", "/v1/saves/main", b"x", content_type=BYTES)
    assert_problem(answer, 428, "precondition_required")


@pytest.mark.parametrize("tag", ['"1"', '"99"', '"not-a-version"', f'"{"9" * 30}"'])
def test_put__version_that_is_not_current__412_with_the_current_one(
    player_client: PlayerClient, tag: str
) -> None:
    put(player_client)
    put(player_client, b"second", if_match='"1"')
    problem = assert_problem(put(player_client, b"mine", if_match=tag), 412, "version_conflict")
    current = problem["current"]
    assert set(current) == {"version", "size", "sha256", "device", "updated_at"}
    assert current["version"] == 2
    assert current["sha256"] == hashlib.sha256(b"second").hexdigest()
    assert player_client.get("/v1/saves/main").content == b"second"


def test_put__replacing_what_is_not_there__412_without_a_current_one(
    player_client: PlayerClient,
) -> None:
    for tag in ('"1"', "*"):
        problem = assert_problem(put(player_client, if_match=tag), 412, "version_conflict")
        assert problem["current"] is None


def test_put__creating_what_is_there__412(player_client: PlayerClient) -> None:
    put(player_client)
    problem = assert_problem(put(player_client, b"other"), 412, "version_conflict")
    assert problem["current"]["version"] == 1


def test_put__any_version__replaces(player_client: PlayerClient) -> None:
    put(player_client)
    assert put(player_client, b"forced", if_match="*")["ETag"] == '"2"'


def test_put__repeated_after_a_lost_answer__is_answered_as_the_first(
    player_client: PlayerClient,
) -> None:
    created, again = put(player_client), put(player_client)
    assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
    assert again.json() == created.json()
    replaced = put(player_client, b"v2", if_match='"1"')
    again = put(player_client, b"v2", if_match='"1"')
    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert again.json() == replaced.json()
    assert Save.objects.get().version == 2


def test_put__content_digest__is_checked(player_client: PlayerClient) -> None:
    def digest(data: bytes) -> str:
        return base64.b64encode(hashlib.sha256(data).digest()).decode()

    wrong = put(player_client, content_digest=f"sha-256=:{digest(b'other')}:")
    assert_problem(wrong, 400, "content_digest_mismatch")
    for malformed in ("sha-256=abc", "sha-256=:!!!:", "sha-256=:abc:"):
        assert_problem(put(player_client, content_digest=malformed), 400, "invalid_header")
    fine = f"sha-512=:AAAA:, sha-256=:{digest(b'garden')}:"
    assert put(player_client, content_digest=fine).status_code == 201


def test_put__gzip__digest_is_of_what_was_sent_and_the_save_is_unpacked(
    player_client: PlayerClient,
) -> None:
    packed = gzip.compress(b"garden" * 100)
    digest = base64.b64encode(hashlib.sha256(packed).digest()).decode()
    answer = put(
        player_client,
        packed,
        content_encoding="gzip",
        content_digest=f"sha-256=:{digest}:",
    )
    assert answer.status_code == 201
    assert answer.json()["size"] == 600
    assert player_client.get("/v1/saves/main").content == b"garden" * 100


def test_put__too_large__413(player_client: PlayerClient, settings: Any) -> None:
    settings.SAVE_MAX_BYTES = 100
    assert put(player_client, b"x" * 100).status_code == 201
    assert_problem(put(player_client, b"x" * 101, "b"), 413, "body_too_large")
    bomb = gzip.compress(b"x" * 10_000)
    assert_problem(put(player_client, bomb, "b", content_encoding="gzip"), 413, "body_too_large")


def test_put__other_media_type__415(player_client: PlayerClient) -> None:
    answer = put(player_client, content_type="text/plain")
    assert_problem(answer, 415, "unsupported_media_type")


def test_put__empty_save__is_a_save(player_client: PlayerClient) -> None:
    headers = {"content-type": BYTES, "if-none-match": "*"}
    answer = player_client.call("PUT", "/v1/saves/main", b"", **headers)
    assert answer.json()["size"] == 0
    assert player_client.get("/v1/saves/main").content == b""


def test_put__more_slots_than_allowed__409(player_client: PlayerClient, settings: Any) -> None:
    settings.SAVE_MAX_SLOTS = 2
    put(player_client, slot="a")
    put(player_client, slot="b")
    assert_problem(put(player_client, slot="c"), 409, "save_slots_full")
    player_client.delete("/v1/saves/a", if_match='"1"')
    assert put(player_client, slot="c").status_code == 201
    assert_problem(player_client.post("/v1/saves/a/versions/1/restore"), 409, "save_slots_full")


def test_put__more_bytes_than_allowed__409(player_client: PlayerClient, settings: Any) -> None:
    settings.SAVE_MAX_TOTAL_BYTES = 100
    put(player_client, b"x" * 60, "a")
    assert_problem(put(player_client, b"x" * 41, "b"), 409, "save_space_full")
    put(player_client, b"x" * 40, "b")
    answer = put(player_client, b"x" * 61, "a", if_match='"1"')
    assert_problem(answer, 409, "save_space_full")
    assert put(player_client, b"y" * 60, "a", if_match='"1"').status_code == 200


def test_put__access__is_chosen_once(player_client: PlayerClient) -> None:
    assert put(player_client, query="?access=public").json()["access"] == "public"
    changed = put(player_client, b"2", if_match='"1"', query="?access=private")
    assert_problem(changed, 409, "save_access_fixed")
    same = put(player_client, b"2", if_match='"1"', query="?access=public")
    assert same.status_code == 200
    assert_problem(put(player_client, slot="b", query="?access=all"), 400, "validation_failed")


def test_put__unusable_slot__404(player_client: PlayerClient) -> None:
    for slot in ("Main", "a" * 65, "a%20b", "-a"):
        assert_problem(put(player_client, slot=slot), 404, "not_found")


def test_put__hook_that_refuses__nothing_is_written(
    player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def refuse(**context: Any) -> None:
        seen.append(context)
        raise hooks.HookRefused("The garden is closed")

    monkeypatch.setitem(hooks._before, "save", [refuse])
    assert_problem(put(player_client), 422, "refused_by_game")
    assert (seen[0]["slot"], seen[0]["size"]) == ("main", 6)
    assert not Save.objects.exists()


def test_get__version_that_the_reader_has__304(player_client: PlayerClient) -> None:
    put(player_client)
    answer = player_client.get("/v1/saves/main", if_none_match='"1"')
    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", '"1"')
    put(player_client, b"new", if_match='"1"')
    answer = player_client.get("/v1/saves/main", if_none_match='"1"')
    assert (answer.status_code, answer.content) == (200, b"new")
    answer = player_client.get("/v1/saves/main", if_none_match='"9", W/"2"')
    assert answer.status_code == 304


def test_get__save__digest_and_no_store(player_client: PlayerClient) -> None:
    put(player_client)
    answer = player_client.get("/v1/saves/main")
    digest = base64.b64encode(hashlib.sha256(b"garden").digest()).decode()
    assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_get__large_json__is_compressed_for_who_takes_it(player_client: PlayerClient) -> None:
    body = b'{"flowers": [' + b"1," * 1000 + b"1]}"
    put(player_client, body, content_type=JSON)
    answer = player_client.get("/v1/saves/main", accept_encoding="gzip")
    assert answer["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.content) == body


def test_list__slots__without_bodies_and_deleted_ones(player_client: PlayerClient) -> None:
    for slot in ("b", "a", "c"):
        put(player_client, slot=slot)
    player_client.delete("/v1/saves/c", if_match='"1"')
    page = player_client.get("/v1/saves").json()
    assert [save["slot"] for save in page["results"]] == ["a", "b"]
    assert (page["next"], page["previous"]) == (None, None)
    assert page["results"][0]["sha256"] == hashlib.sha256(b"garden").hexdigest()


def test_versions__ten_are_kept(player_client: PlayerClient) -> None:
    put(player_client, b"1")
    for version in range(1, 13):
        put(player_client, str(version + 1).encode(), if_match=f'"{version}"')
    page = player_client.get("/v1/saves/main/versions").json()
    assert [row["version"] for row in page["results"]] == list(range(13, 3, -1))
    assert "restored_from" not in page["results"][0]
    assert SaveVersion.objects.count() == 10
    old = player_client.get("/v1/saves/main/versions/4")
    assert (old.content, old["ETag"]) == (b"4", '"4"')
    assert_problem(player_client.get("/v1/saves/main/versions/3"), 404, "not_found")


def test_versions__fewer_kept_than_before__the_rest_goes_with_the_next_write(
    player_client: PlayerClient, settings: Any
) -> None:
    put(player_client, b"1")
    for version in range(1, 6):
        put(player_client, b"x%d" % version, if_match=f'"{version}"')
    settings.SAVE_KEPT_VERSIONS = 3
    put(player_client, b"last", if_match='"6"')
    assert sorted(SaveVersion.objects.values_list("version", flat=True)) == [5, 6, 7]


def test_restore__earlier_version__is_written_as_a_new_one(player_client: PlayerClient) -> None:
    put(player_client, b'{"day": 1}', content_type=JSON)
    put(player_client, b"broken", if_match='"1"')
    answer = player_client.post("/v1/saves/main/versions/1/restore", if_match='"2"')
    assert answer.status_code == 200, answer.content
    assert (answer.json()["version"], answer["ETag"]) == (3, '"3"')
    read = player_client.get("/v1/saves/main")
    assert (read.content, read["Content-Type"]) == (b'{"day": 1}', JSON)
    newest = player_client.get("/v1/saves/main/versions").json()["results"][0]
    assert newest["restored_from"] == 1


def test_restore__stale_or_unknown__refused(player_client: PlayerClient) -> None:
    put(player_client)
    put(player_client, b"2", if_match='"1"')
    restore = "/v1/saves/main/versions/1/restore"
    problem = assert_problem(player_client.post(restore, if_match='"1"'), 412, "version_conflict")
    assert problem["current"]["version"] == 2
    gone = player_client.post(restore, if_none_match="*")
    assert_problem(gone, 412, "version_conflict")
    assert player_client.post(restore, if_match="*").status_code == 200
    for path in ("main/versions/77", "other/versions/1", f"main/versions/{2**63}"):
        assert_problem(player_client.post(f"/v1/saves/{path}/restore"), 404, "not_found")
        assert_problem(player_client.get(f"/v1/saves/{path}"), 404, "not_found")


def test_restore__same_idempotency_key__writes_one_version(player_client: PlayerClient) -> None:
    put(player_client)
    first, second = (
        player_client.post("/v1/saves/main/versions/1/restore", idempotency_key="once")
        for _ in range(2)
    )
    assert first.json() == second.json()
    assert (second["Idempotent-Replayed"], second["ETag"]) == ("true", '"2"')


def test_delete__slot__gone_and_restorable(player_client: PlayerClient) -> None:
    put(player_client)
    put(player_client, b"2", if_match='"1"')
    assert_problem(player_client.delete("/v1/saves/main"), 428, "precondition_required")
    stale = player_client.delete("/v1/saves/main", if_match='"1"')
    assert assert_problem(stale, 412, "version_conflict")["current"]["version"] == 2
    assert player_client.delete("/v1/saves/main", if_match='"2"').status_code == 204
    assert_problem(player_client.get("/v1/saves/main"), 404, "not_found")
    assert_problem(player_client.delete("/v1/saves/main", if_match='"2"'), 404, "not_found")
    assert_problem(put(player_client, if_match='"2"'), 412, "version_conflict")
    versions = player_client.get("/v1/saves/main/versions").json()["results"]
    assert [row["version"] for row in versions] == [2, 1]
    assert player_client.get("/v1/saves/main/versions/1").content == b"garden"
    restore = "/v1/saves/main/versions/2/restore"
    problem = assert_problem(player_client.post(restore, if_match='"2"'), 412, "version_conflict")
    assert problem["current"] is None
    assert player_client.post(restore, if_none_match="*").json()["version"] == 3
    assert player_client.get("/v1/saves/main").content == b"2"


def test_delete__then_made_again__versions_go_on_counting(player_client: PlayerClient) -> None:
    put(player_client)
    player_client.delete("/v1/saves/main", if_match="*")
    again = put(player_client, b"new garden", query="?access=public")
    assert (again.status_code, again.json()["version"]) == (201, 2)
    assert again.json()["access"] == "public"
    assert_problem(put(player_client, b"old device", if_match='"1"'), 412, "version_conflict")


def test_purge__deleted_long_ago__is_removed_for_good(player_client: PlayerClient) -> None:
    for slot in ("a", "b", "c"):
        put(player_client, slot=slot)
    player_client.delete("/v1/saves/a", if_match='"1"')
    player_client.delete("/v1/saves/b", if_match='"1"')
    long_ago = timezone.now() - timedelta(days=31)
    Save.objects.filter(slot="a").update(deleted_at=long_ago)
    assert_problem(player_client.get("/v1/saves/a/versions"), 404, "not_found")
    assert_problem(player_client.post("/v1/saves/a/versions/1/restore"), 404, "not_found")
    assert purge_deleted_saves() == 1
    assert sorted(Save.objects.values_list("slot", flat=True)) == ["b", "c"]
    assert SaveVersion.objects.count() == 2


def test_delete__many_slots__deleted_ones_are_no_free_storage(
    player_client: PlayerClient, settings: Any
) -> None:
    settings.SAVE_MAX_SLOTS = 2
    for number in range(5):
        put(player_client, slot=f"s{number}")
        player_client.delete(f"/v1/saves/s{number}", if_match="*")
    assert sorted(Save.objects.values_list("slot", flat=True)) == ["s3", "s4"]


def test_public_save__other_player__may_read_and_nothing_else(
    player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    put(player_client, b"open garden", "open", query="?access=public")
    put(player_client, b"secret", "closed")
    base = f"/v1/players/{player_client.player_id}/saves"
    assert other_player_client.get(f"{base}/open").content == b"open garden"
    assert_problem(other_player_client.get(f"{base}/closed"), 404, "not_found")
    assert player_client.get(f"{base}/closed").content == b"secret"
    answer = put(other_player_client, b"x", path=f"{base}/open", if_match='"1"')
    assert_problem(answer, 403, "forbidden")
    assert_problem(other_player_client.get("/v1/saves/open"), 404, "not_found")


def test_public_save__other_game__does_not_exist(
    player_client: PlayerClient, foreign_player_client: PlayerClient, other_game: Any
) -> None:
    put(player_client, query="?access=public")
    path = f"/v1/players/{player_client.player_id}/saves/main"
    assert_problem(foreign_player_client.get(path), 404, "not_found")
    foreign_server = server_client_of(other_game)
    assert_problem(foreign_server.get(path), 404, "not_found")
    assert_problem(put(foreign_server, b"x", path=path), 404, "not_found")
    assert_problem(put(foreign_server, b"x", path=path, if_match='"1"'), 404, "not_found")


def test_server_save__player_reads_and_does_not_write(
    game: Any, player_client: PlayerClient
) -> None:
    server = server_client_of(game, "saves:write", "saves:read")
    path = f"/v1/players/{player_client.player_id}/saves/season"
    created = put(server, b"rules", path=path)
    assert (created.status_code, created.json()["access"]) == (201, "server")
    assert created.json()["device"] == "server"
    assert put(server, b"rules", path=path)["Idempotent-Replayed"] == "true"
    assert player_client.get("/v1/saves/season").content == b"rules"
    assert server.get(path).content == b"rules"
    for refused in (
        put(player_client, b"cheat", "season", if_match='"1"'),
        player_client.delete("/v1/saves/season", if_match='"1"'),
        player_client.post("/v1/saves/season/versions/1/restore"),
        put(player_client, b"mine", "other", query="?access=server"),
    ):
        assert_problem(refused, 403, "save_server_only")
    assert put(server, b"rules 2", path=path, if_match='"1"')["ETag"] == '"2"'


def test_server_save__missing_scope_or_player(game: Any, player_client: PlayerClient) -> None:
    reader = server_client_of(game, "saves:read")
    path = f"/v1/players/{player_client.player_id}/saves/season"
    assert_problem(put(reader, b"x", path=path), 403, "scope_missing")
    server = server_client_of(game)
    nobody = "/v1/players/0192d3a0-0000-7000-8000-000000000000/saves/season"
    assert_problem(put(server, b"x", path=nobody), 404, "not_found")


def test_queries__write_and_read__one_statement_each(player_client: PlayerClient) -> None:
    put(player_client)
    put(player_client, b"warm", if_match='"1"')
    with CaptureQueriesContext(
        connection,
    ) as write:
        put(player_client, b"2", if_match='"2"')
    with CaptureQueriesContext(connection) as read:
        player_client.get("/v1/saves/main")
    assert (len(write), len(read)) == (1, 1), write.captured_queries


def test_queries__list__equal_for_one_slot_and_ten(player_client: PlayerClient) -> None:
    put(player_client, slot="s0")
    with CaptureQueriesContext(connection) as one:
        player_client.get("/v1/saves")
    for number in range(1, 10):
        put(player_client, slot=f"s{number}")
    with CaptureQueriesContext(connection) as ten:
        assert len(player_client.get("/v1/saves").json()["results"]) == 10
    assert len(one) == len(ten) == 1
