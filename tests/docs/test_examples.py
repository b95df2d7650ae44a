"""Every curl example of the documentation does what it says, against a running server."""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.models import Game
from accounts.services import game_files
from tests.contract.live import brief_connections
from tests.docs import pages
from tests.factories.accounts import publishable_key, secret_key
from tests.fixtures.api import SCOPES, new_player

ROOT = Path(settings.BASE_DIR)
STAND_IN = f"{sys.executable} {Path(__file__).with_name('curl.py')}"
CURL = f"{shutil.which('curl')} -sS" if shutil.which("curl") else STAND_IN
# Pages whose examples are the API's own documentation: each has to say what it answers.
API_PAGES = ["README.md", *(f"docs/{app}.md" for app in
             ("accounts", "analytics", "store", "progress", "leaderboards"))]  # fmt: skip
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
    if path.exists() and pages.examples_in(path.read_text(encoding="utf-8"))
]


@pytest.fixture
def far_limits(settings: Any) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (100_000, 60))


@pytest.fixture
def variables(transactional_db: None, far_limits: None, live_server: Any) -> dict[str, str]:
    """What the examples take from the environment: a fresh game that is the example file's."""
    text = (ROOT / "examples" / "lantern_garden.yaml").read_text(encoding="utf-8")
    game_files.apply(text=text, dry_run=False, new_server_key=False)
    game = Game.objects.get(slug="lantern-garden")
    player = new_player(game)
    now = datetime.now(UTC)
    return {
        "BASE": live_server.url,
        "GAME_KEY": publishable_key(game),
        "SERVER_KEY": secret_key(game, SCOPES),
        "ACCESS": player.session["access"],
        "REFRESH": player.session["refresh"],
        "SESSION": player.session["session"],
        "PLAYER": str(player.player_id),
        "NOW": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "TODAY": now.date().isoformat(),
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", PAGES)
def test_examples__answer_as_the_page_says(
    page: str, variables: dict[str, str], tmp_path: Path
) -> None:
    examples = pages.examples_in((ROOT / page).read_text(encoding="utf-8"))
    told = [example for example in examples if example.expected is not None]

    with brief_connections():
        outcomes = pages.run(told, variables=variables, curl=CURL, folder=tmp_path)

    wrong = [str(outcome) for outcome in outcomes if not outcome.is_as_told]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("page", API_PAGES)
def test_examples__are_there_and_say_what_they_answer(page: str) -> None:
    examples = pages.examples_in((ROOT / page).read_text(encoding="utf-8"))

    assert examples
    assert [example.text for example in examples if example.expected is None] == []


PAGE = """
```bash
curl -s $BASE/healthz
# → 200
```
```bash
KEPT=$(curl -s -H "X-Request-ID: kept-for-later" -i "$BASE/v1/nope?a=1&b=2" \\
  | grep -io kept-for-later | head -1)
# → 404
```
```bash
curl -s -X POST -H "X-Game-Key: $GAME_KEY" -H 'Content-Type: application/json' \\
  "$BASE/v1/sessions?$KEPT" -d '{"no": "good"}'
# → 201
```
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("curl", sorted({CURL, STAND_IN}), ids=lambda curl: curl.split()[0][-6:])
def test_runner__notices_what_is_not_as_told(
    curl: str, variables: dict[str, str], tmp_path: Path
) -> None:
    """With curl and with the stand-in: right statuses pass, a wrong one does not."""
    examples = pages.examples_in(PAGE)

    with brief_connections():
        outcomes = pages.run(examples, variables=variables, curl=curl, folder=tmp_path)

    assert [(o.status, o.is_as_told) for o in outcomes] == [
        ("200", True),
        ("404", True),
        ("400", False),
    ]
    assert '"status":"ok"' in outcomes[0].output.replace(" ", "")
    assert "answered 400" in str(outcomes[2])
