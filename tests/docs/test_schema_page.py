"""docs/schema.md is what the models say."""

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import Identity
from analytics.models import DailyFigure, Event
from analytics.schema_page import APPS, columns, purpose, relations, schema_page

pytestmark = pytest.mark.once


def test_page__is_the_committed_one() -> None:
    call_command("schema_diagram", check=True)


def test_command__writes_and_checks(tmp_path: Path, settings: LazySettings) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    with pytest.raises(CommandError, match="schema_diagram"):
        call_command("schema_diagram", check=True)

    call_command("schema_diagram")
    call_command("schema_diagram", check=True)

    assert (tmp_path / "docs" / "schema.md").read_text(encoding="utf-8") == schema_page()


def test_page__has_every_table_and_every_index() -> None:
    text = schema_page()
    for label in APPS:
        for model in apps.get_app_config(label).get_models():
            if model._meta.managed and not model._meta.proxy:
                assert f"    {model._meta.db_table} {{" in text
                for promise in (*model._meta.constraints, *model._meta.indexes):
                    assert f"`{promise.name}`" in text


def test_page__every_line_of_a_diagram_is_mermaid() -> None:
    text = schema_page()
    for block in re.findall(r"```mermaid\nerDiagram\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            assert re.fullmatch(
                r'    (\w+ \|[|o](--|\.\.)[o|][{o] \w+ : "\w+"|\w+ {|}|    \w+ \w+( [A-Z,]+)?)',
                line,
            ), line


def test_columns_and_relations() -> None:
    assert "uuid game_id FK" in columns(DailyFigure)
    assert "timestamptz at PK" in columns(Event)
    assert '    accounts_game ||..o{ analytics_event : "game_id"' in relations(Event)
    assert '    accounts_game ||--o{ analytics_dailyfigure : "game"' in relations(DailyFigure)


def test_purpose__is_the_comment_above() -> None:
    assert purpose(Event, "analytics_event_by_time").startswith("A game's events by time")
    assert purpose(DailyFigure, "analytics_dailyfigure_once").startswith("Also serves every read")
    assert purpose(Identity, "no_such_index") == ""
