"""Every endpoint with every credential that must not open it.

The endpoints come from the API itself (tests/contract/operations.py): a new one is covered by
existing.
"""

import secrets
from typing import Any

import pytest

from accounts.models import Game
from config.api.callers import CallerKind
from tests.contract.callers import World, forged_tokens, new_world
from tests.contract.operations import Operation, Owned, all_operations, named
from tests.factories.accounts import secret_key
from tests.fixtures.api import SCOPES, ApiClient, assert_problem

pytestmark = [pytest.mark.django_db, pytest.mark.once]
OPERATIONS = all_operations()
GUARDED = [operation for operation in OPERATIONS if operation.contract.callers]
KINDS: tuple[CallerKind, ...] = ("game", "player", "server")
OPEN = {"GET /.well-known/jwks.json", "POST /v1/store/notifications/<key:provider>"}


def call(client: ApiClient, operation: Operation, path: str = "", **headers: str) -> Any:
    """A well-formed request, so that what refuses it is the credential."""
    sent = {"idempotency_key": secrets.token_hex(8), "if_none_match": "*"} | headers
    if operation.contract.idempotent == "no":
        del sent["idempotency_key"]
    target = (path or operation.path()) + operation.query()
    if operation.contract.raw_body:
        kind = operation.contract.raw_body[0]
        return client.call(operation.method, target, b"{}", content_type=kind, **sent)
    return client.call(operation.method, target, operation.body(), **sent)


def test_open_endpoints__are_the_ones_we_know() -> None:
    assert {str(o) for o in OPERATIONS if not o.contract.callers} == OPEN
    assert len(GUARDED) > 20


def test_servers__can_write_nothing_without_a_scope() -> None:
    writes = [o for o in GUARDED if "server" in o.contract.callers and o.method != "GET"]

    assert [str(o) for o in writes if o.contract.scope not in SCOPES] == []


@pytest.mark.parametrize("operation", **named(GUARDED))
def test_without_a_credential(operation: Operation, db: None) -> None:
    assert_problem(call(ApiClient(), operation), 401, "not_authenticated")


@pytest.mark.parametrize("operation", **named(GUARDED))
def test_with_a_credential_that_is_none(operation: Operation, world: World) -> None:
    for headers in (
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer " + "x" * 5000},
        {"Authorization": "Basic cGxheWVyOnNlY3JldA=="},
        {"Authorization": "Api-Key sk_" + secrets.token_urlsafe(32)},
        {"Authorization": "Api-Key " + world.headers("game")["X-Game-Key"]},
        {"Authorization": "Bearer " + world.headers("game")["X-Game-Key"]},
        {"X-Game-Key": "pk_" + secrets.token_urlsafe(32)},
        {"X-Game-Key": world.headers("server")["Authorization"].removeprefix("Api-Key ")},
        {"X-Game-Key": "\x00"},
    ):
        assert_problem(call(ApiClient(headers), operation), 401, "not_authenticated")


@pytest.mark.parametrize("operation", **named(o for o in GUARDED if "player" in o.contract.callers))
def test_with_a_token_that_must_not_be_believed(operation: Operation, world: World) -> None:
    for reason, token in forged_tokens(world.session).items():
        answer = call(ApiClient({"Authorization": f"Bearer {token}"}), operation)
        assert answer.status_code == 401, reason
        assert_problem(answer, 401, "not_authenticated")


@pytest.mark.parametrize("operation", **named(GUARDED))
def test_with_a_credential_of_another_kind(operation: Operation, world: World) -> None:
    for kind in KINDS:
        if kind not in operation.contract.callers:
            answer = call(world.client(kind), operation)
            assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize(
    "operation",
    **named(o for o in GUARDED if "server" in o.contract.callers and o.contract.scope),
)
def test_with_a_server_key_without_the_scope(operation: Operation, world: World) -> None:
    others = [scope for scope in SCOPES if scope != operation.contract.scope]
    client = ApiClient({"Authorization": f"Api-Key {secret_key(world.game, others)}"})

    assert_problem(call(client, operation), 403, "scope_missing")


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        pytest.param(operation, kind, id=f"{operation} as {kind}")
        for operation in GUARDED
        for kind in operation.contract.callers
    ],
)
def test_with_another_games_credential__nothing_of_this_game_is_seen_or_changed(
    operation: Operation, kind: CallerKind, world: World, other_game: Game, owned: Owned
) -> None:
    foreigner = new_world(other_game)
    path = owned.path(operation)

    answer = call(foreigner.client(kind), operation, path)

    assert answer.status_code < 500, answer.content
    own_things = {str(value) for value in owned.values.values()} | {str(world.session.pk)}
    named_in_path = {value for value in own_things if value in path}
    if named_in_path:
        assert answer.status_code in (403, 404), (answer.status_code, answer.content)
    text = answer.content.decode(errors="replace")
    assert not [value for value in own_things if value in text]


@pytest.mark.parametrize(
    "operation",
    **named(
        o
        for o in GUARDED
        if "player" in o.contract.callers
        and (
            any(name in ("session", "identity") for _, name in o.parameters)
            or (o.parameters and o.route.startswith(("v1/friends/", "v1/blocks/")))
        )
    ),
)
def test_with_another_players_credential__their_things_are_not_there(
    operation: Operation, world: World, owned: Owned
) -> None:
    other = new_world(world.game)

    answer = call(other.client("player"), operation, owned.path(operation))

    assert answer.status_code == 404, answer.content
    mine = call(world.client("player"), operation, owned.path(operation))
    assert mine.status_code != 404


@pytest.mark.parametrize("operation", **named(o for o in GUARDED if "player" in o.contract.callers))
def test_with_a_session_that_was_signed_out(
    operation: Operation, world: World, django_capture_on_commit_callbacks: Any
) -> None:
    client = world.client("player")
    with django_capture_on_commit_callbacks(execute=True):
        assert client.delete("/v1/sessions/current").status_code == 204

    assert_problem(call(client, operation), 401, "session_revoked")
