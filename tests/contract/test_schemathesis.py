"""Schemathesis over the OpenAPI document: examples, edges of the schema, random data, and chains of
calls, good and bad, against a running server."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.db import connections
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from tests.contract.callers import World
from tests.contract.live import brief_connections
from tests.factories.accounts import SessionFactory, access_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

CONFIG = """
seed = 20261121

[generation]
max-examples = 5
no-shrink = true
deterministic = true

[phases.stateful]
max-steps = 5

[phases.stateful.generation]
max-examples = 20

[parameters]
"path.board" = "harvest"
"path.slot" = "garden"
"path.item" = "seed_pack"
"path.player" = "{player}"

[checks.positive_data_acceptance]
# What the schema can't say: cursors that were handed out, keys that exist, fields that go together,
# credentials that sign in. Left to find: media types, lengths and methods refused for nothing.
expected-statuses = ["2xx", "304", "400", "401", "403", "404", "409", "412", "422", "428"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "428"]
"""


def credentials_of(world: World) -> type:
    """A provider that signs each request as its operation says."""
    kept = {kind: world.headers(kind) for kind in ("game", "server")}

    class Credentials:
        def get(self, case: Any, context: Any) -> dict[str, str]:
            security = context.operation.definition.raw.get("security", [])
            schemes = {name for option in security for name in option}
            if "Player" in schemes:
                # Of a session of its own, so that no call can end it for the next.
                session = SessionFactory(player=world.player)
                # This runs in threads of Schemathesis, which know nothing of Django's connections.
                connections.close_all()
                return {"Authorization": f"Bearer {access_token(session)}"}
            if "ServerKey" in schemes:
                return kept["server"]
            return kept["game"] if "GameKey" in schemes else {}

        def set(self, case: Any, data: dict[str, str], context: Any) -> None:
            case.headers.update(data)

    return Credentials


def failures(stream: Any) -> Iterator[str]:
    """What the run found wrong, one text each."""
    for event in stream:
        if isinstance(event, events.NonFatalError | events.FatalError):
            yield f"{getattr(event, 'label', '')}: {event}"
        elif isinstance(event, events.ScenarioFinished) and event.status == Status.FAILURE:
            for case_id, checks in event.recorder.checks.items():
                for check in checks:
                    if check.failure_info is not None:
                        failure = check.failure_info.failure
                        answer = event.recorder.interactions[case_id].response
                        yield "\n".join(
                            (
                                f"{event.phase.value} {check.name}: {failure.title}",
                                failure.message,
                                event.recorder.cases[case_id].value.as_curl_command(),
                                repr(answer.content[:300] if answer else None),
                            )
                        )


def test_schemathesis__finds_nothing(world: World, live_server: Any) -> None:
    config = SchemathesisConfig.from_str(CONFIG.format(player=world.player.pk))
    schema = schemathesis.openapi.from_url(f"{live_server.url}/v1/schema/", config=config)
    schema.auth(refresh_interval=None)(credentials_of(world))

    with brief_connections():
        found = list(failures(from_schema(schema).execute()))

    assert not found, f"{len(found)} failures\n\n" + "\n\n".join(found)
