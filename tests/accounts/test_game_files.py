"""`apply_game` and `export_game`, with a section made up for the test."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from accounts import definition
from accounts.definition import Report
from accounts.errors import TooManyServerKeys
from accounts.models import ApiKey, Game
from accounts.services import game_files, keys
from accounts.services.game_files import DefinitionError

pytestmark = pytest.mark.django_db
GAME = "game: {slug: pond, name: Pond, timezone: Europe/Vienna}\n"


class Plants:
    """A section whose content is kept in a dictionary."""

    name = "plants"
    order = 10

    def __init__(self) -> None:
        self.content: dict[str, str] = {}
        self.seen_keys: set[str] | None = None

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        wanted = {entry["key"]: entry.get("color", "green") for entry in data}
        for index, entry in enumerate(data):
            if entry.get("color") == "invisible":
                report.error(f"/plants/{index}/color", "Plants can be seen")
        for key in wanted.keys() - self.content.keys():
            report.change("created", self.name, key)
        for key in wanted.keys() & self.content.keys():
            if wanted[key] != self.content[key]:
                report.change("changed", self.name, key, f"{self.content[key]} → {wanted[key]}")
        for key in self.content.keys() - wanted.keys():
            report.change("removed", self.name, key)

        def act() -> None:
            self.content = wanted

        return act

    def export(self, game: Game) -> list[dict[str, Any]]:
        return [
            {"key": key} | ({} if color == "green" else {"color": color})
            for key, color in self.content.items()
        ]


class Gardens(Plants):
    """A later section, which refers to the earlier one."""

    name = "gardens"
    order = 20

    def plan(self, game: Game, data: list[Any], report: Report) -> Callable[[], None]:
        self.seen_keys = set(report.keys["plants"])
        return super().plan(game, data, report)


@pytest.fixture
def plants(monkeypatch: pytest.MonkeyPatch) -> Plants:
    monkeypatch.setattr(definition, "_sections", {})
    section = Plants()
    definition.register(section)
    return section


def mistakes(text: str) -> dict[str, str]:
    with pytest.raises(DefinitionError) as refused:
        game_files.apply(text=text)
    return {finding.pointer: finding.message for finding in refused.value.findings}


def test_apply__makes_the_game_with_its_keys(plants: Plants) -> None:
    applied = game_files.apply(text=GAME + "plants: [{key: koi_lily, color: white}]")
    game = Game.objects.get(slug="pond")
    assert (game.name, game.timezone) == ("Pond", "Europe/Vienna")
    assert (applied.created, applied.changed) == (2, 0)
    assert applied.publishable_key == keys.publishable_key(game)
    assert applied.server_key is not None
    assert plants.content == {"koi_lily": "white"}
    assert game.definition_version > 1


def test_apply__again__changes_nothing(plants: Plants) -> None:
    text = GAME + "plants: [{key: koi_lily}]"
    first = game_files.apply(text=text)
    version = Game.objects.get().definition_version
    second = game_files.apply(text=text)
    assert (second.created, second.changed, second.changes) == (0, 0, [])
    assert second.server_key is None
    assert second.publishable_key == first.publishable_key
    assert Game.objects.get().definition_version == version


def test_apply__what_export_prints__changes_nothing(plants: Plants) -> None:
    game_files.apply(
        text=GAME + 'plants: [{key: a, color: "0 0 * * *"}, {key: b}, {key: c, color: "yes"}]'
    )
    exported = game_files.export(slug="pond")
    assert yaml.safe_load(exported)["plants"][1] == {"key": "b"}
    assert game_files.apply(text=exported).changes == []


def test_apply__shows_what_differs(plants: Plants) -> None:
    game_files.apply(text=GAME + "plants: [{key: a}, {key: b}]")
    applied = game_files.apply(
        text="game: {slug: pond, name: Lake}\nplants: [{key: a, color: red}, {key: c}]"
    )
    assert (applied.created, applied.changed) == (1, 3)
    assert {(c.kind, c.section, c.key) for c in applied.changes} == {
        ("changed", "game", "pond"),
        ("changed", "plants", "a"),
        ("removed", "plants", "b"),
        ("created", "plants", "c"),
    }
    assert Game.objects.get().timezone == "UTC"


def test_apply__dry_run__leaves_nothing(plants: Plants) -> None:
    applied = game_files.apply(text=GAME, dry_run=True, new_server_key=True)
    assert applied.created == 1
    assert applied.publishable_key is None
    assert applied.server_key is None
    assert not Game.objects.exists()
    assert not ApiKey.objects.exists()


def test_apply__dry_run_of_a_game_that_exists__shows_its_key(plants: Plants) -> None:
    first = game_files.apply(text=GAME)
    again = game_files.apply(text=GAME.replace("Pond", "Lake"), dry_run=True)
    assert again.publishable_key == first.publishable_key
    assert Game.objects.get().name == "Pond"
    ApiKey.objects.all().delete()
    assert game_files.apply(text=GAME, dry_run=True).publishable_key is None


def test_apply__a_mistake_anywhere__applies_nothing(plants: Plants) -> None:
    text = GAME + "plants: [{key: a}, {key: b, color: invisible}]"
    assert mistakes(text) == {"/plants/1/color": "Plants can be seen"}
    assert not Game.objects.exists()
    assert plants.content == {}


def test_apply__a_section_that_is_absent__is_left_alone(plants: Plants) -> None:
    gardens = Gardens()
    definition.register(gardens)
    game_files.apply(text=GAME + "plants: [{key: a}]")
    game_files.apply(text=GAME + "gardens: [{key: g}]")
    assert plants.content == {"a": "green"}
    assert gardens.seen_keys == {"a"}, "of the database"
    game_files.apply(text=GAME + "gardens: [{key: g}]\nplants: [{key: b}]")
    assert gardens.seen_keys == {"b"}, "of the file"


def test_apply__new_server_key__at_most_two(plants: Plants) -> None:
    first = game_files.apply(text=GAME)
    second = game_files.apply(text=GAME, new_server_key=True)
    assert {first.server_key, second.server_key} != {None}
    with pytest.raises(TooManyServerKeys):
        game_files.apply(text=GAME, new_server_key=True)


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("", ""),
        ("- a", ""),
        ("{", ""),
        ("a: 1\na: 2", ""),
        ("a: &x {b: 1}\nc: *x", ""),
        ("1: x", ""),
        ("a: !!python/object:os.system {}", ""),
        ("a: \x07", ""),
        ("game: 1", "/game"),
        ("plants: []", "/game"),
        ("game: {slug: Pond, name: P}", "/game/slug"),
        ("game: {slug: 7, name: P}", "/game/slug"),
        ("game: {slug: p, name: ''}", "/game/name"),
        ("game: {slug: p, name: P, timezone: Mars}", "/game/timezone"),
        ("game: {slug: p, name: P, timezone: [UTC]}", "/game/timezone"),
        ("game: {slug: p, name: P, color: red}", "/game/color"),
        (GAME + "animals: []", "/animals"),
        (GAME + "plants: {}", "/plants"),
        (GAME + "plants: [1]", "/plants/0"),
        (GAME + "plants: [{key: a}, {key: a}]", "/plants/1/key"),
        (GAME + "plants: [{key: a, deep: " + "[" * 30 + "]" * 30 + "}]", "/plants/0"),
        (GAME + "plants: [" + "{key: a}," * 10_001 + "]", "/plants"),
        (GAME + "# " + "x" * (5 << 20), ""),
        (GAME + "plants: " + "[" * 3_000, ""),
    ],
)
def test_apply__mistakes__are_pointed_at(plants: Plants, text: str, pointer: str) -> None:
    assert pointer in mistakes(text)


def test_apply__mistakes__name_the_line(plants: Plants) -> None:
    assert mistakes(GAME + "plants:\n  - {key: a\n")[""].startswith("line ")
    assert "twice" in mistakes("a: 1\na: 2")[""]


def test_report__is_bounded() -> None:
    report = Report()
    for number in range(definition.MAX_ERRORS + 5):
        report.error(f"/{number}", "Wrong")
    assert len(report.errors) == definition.MAX_ERRORS


# --- the commands ----------------------------------------------------------------------------


def run(*arguments: str) -> tuple[dict[str, Any], str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("apply_game", *arguments, stdout=out, stderr=err)
    return json.loads(out.getvalue()), err.getvalue()


def test_command__prints_json_and_the_difference(plants: Plants, tmp_path: Path) -> None:
    path = tmp_path / "pond.yaml"
    path.write_text(GAME + "plants: [{key: a}]")
    dry, difference = run(str(path), "--dry-run")
    assert dry == {"game": "pond", "created": 2, "changed": 0, "publishable_key": None}
    assert "A dry run" in difference
    made, difference = run(str(path))
    assert set(made) == {"game", "created", "changed", "publishable_key", "server_key"}
    assert "+ plants a" in difference
    again, difference = run(str(path))
    assert set(again) == {"game", "created", "changed", "publishable_key"}
    assert difference.strip() == "Nothing differs."
    rotated, _ = run(str(path), "--new-server-key")
    assert rotated["server_key"] != made["server_key"]
    with pytest.raises(CommandError, match="two active"):
        run(str(path), "--new-server-key")
    path.write_text(GAME + "plants: [{key: a, color: red}]")
    assert "~ plants a: green → red" in run(str(path))[1]


def test_command__from_standard_input(plants: Plants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(GAME))
    assert run("-")[0]["game"] == "pond"


def test_command__mistakes__are_listed(plants: Plants, tmp_path: Path) -> None:
    path = tmp_path / "pond.yaml"
    path.write_text("game: {slug: Pond}")
    err = io.StringIO()
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("apply_game", str(path), stderr=err)
    assert "/game/slug: " in err.getvalue()
    assert "/game/name: " in err.getvalue()
    with pytest.raises(CommandError, match="can't be read"):
        call_command("apply_game", str(tmp_path / "none.yaml"))
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(CommandError, match="can't be read"):
        call_command("apply_game", str(path))


def test_export_command(plants: Plants) -> None:
    game_files.apply(text=GAME + "plants: [{key: a}]")
    out = io.StringIO()
    call_command("export_game", "pond", stdout=out)
    assert yaml.safe_load(out.getvalue()) == {
        "game": {"slug": "pond", "name": "Pond", "timezone": "Europe/Vienna"},
        "plants": [{"key": "a"}],
    }
    with pytest.raises(CommandError, match="no game"):
        call_command("export_game", "lake")


def test_every_section__exports_what_it_takes_back(game: Game) -> None:
    """The real sections, of an empty game."""
    text = game_files.export(slug=game.slug)
    assert game_files.apply(text=text).changes == []
