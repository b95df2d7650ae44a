"""The back office of progress: definitions, saves, corrections by staff."""

from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Player
from progress.models import Achievement, Save, Stat
from progress.panels import achievements_panel, saves_panel, stats_panel
from progress.selectors import content
from store.models import Currency
from tests.factories.accounts import StaffUserFactory
from tests.factories.progress import make_achievement, make_stat
from tests.fixtures.api import PlayerClient
from tests.progress.test_saves import put
from tests.progress.test_stats import report, values_of


def staff(role: str) -> Client:
    client = Client()
    client.force_login(StaffUserFactory.create(role=role))
    return client


def form_of(row: Any, **changes: Any) -> dict[str, Any]:
    """The fields of an admin form as they stand, changed."""
    values = {
        field.name: field.value_from_object(row)
        for field in row._meta.concrete_fields
        if field.editable and field.name not in ("id", "created_at")
    }
    values["reward"] = "{}"
    values |= changes
    return {
        name: value for name, value in values.items() if value is not None and value is not False
    }


def test_stat__changed_by_a_designer__is_known_at_once(
    game: Any, player_client: PlayerClient
) -> None:
    stat = make_stat(game, "flowers", minimum=0, maximum=10)
    version = type(game).objects.get(pk=game.pk).definition_version
    url = reverse("admin:progress_stat_change", args=[stat.pk])
    client = staff("designer")
    assert client.get(url).status_code == 200
    answer = client.post(url, form_of(stat, maximum=100))
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert type(game).objects.get(pk=game.pk).definition_version > version
    assert report(player_client, flowers=100).status_code == 200
    assert LogEntry.objects.get_for_object(stat).filter(changes__has_key="maximum").exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"minimum": 20}, "minimum"),
        ({"minimum": 1}, "minimum"),
        ({"rate_amount": 5}, "rate_amount"),
    ],
)
def test_stat__mistakes__are_shown(game: Any, changes: Any, field: str) -> None:
    stat = make_stat(game, "flowers", minimum=0, maximum=10)
    url = reverse("admin:progress_stat_change", args=[stat.pk])
    answer = staff("designer").post(url, form_of(stat, **changes))
    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors


def test_achievement__made_by_a_designer__and_mistakes_are_shown(
    game: Any, other_game: Any
) -> None:
    Currency.objects.create(game=game, key="petals", name="Petals")
    stat, foreign = make_stat(game, "flowers"), make_stat(other_game, "theirs")
    url = reverse("admin:progress_achievement_add")
    client = staff("designer")
    assert client.get(url).status_code == 200
    fine = {
        "game": game.pk,
        "key": "bloom",
        "name": "Bloom",
        "stat": stat.pk,
        "threshold": 1,
        "position": 0,
        "is_active": "on",
        "reward": '{"currencies": {"petals": 5}}',
    }
    for changes, field in (
        ({"stat": foreign.pk}, "stat"),
        ({"reportable": "on"}, "reportable"),
        ({"stat": "", "threshold": 0}, "threshold"),
        ({"reward": '{"currencies": {"gold": 5}}'}, "reward"),
        ({"reward": '{"petals": 5}'}, "reward"),
    ):
        answer = client.post(url, fine | changes)
        assert answer.status_code == 200
        assert field in answer.context["adminform"].form.errors
    answer = client.post(url, fine)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert content.get(game.pk).achievements["bloom"].currencies == {"petals": 5}
    assert Achievement.objects.get().stat == stat


@pytest.mark.parametrize(("role", "status"), [("support", 403), ("analyst", 403)])
def test_definitions__other_roles__may_look_and_not_change(
    game: Any, role: str, status: int
) -> None:
    stat = make_stat(game, "flowers")
    url = reverse("admin:progress_stat_change", args=[stat.pk])
    client = staff(role)
    assert client.get(url).status_code == 200
    assert client.post(url, form_of(stat, maximum=1)).status_code == status


def test_saves__found_by_player__shown_with_versions_and_not_counted(
    game: Any, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    put(player_client, b"v1")
    put(player_client, b"v2", if_match='"1"')
    player_client.post("/v1/saves/main/versions/1/restore")
    put(other_player_client, slot="other")
    client = staff("support")
    url = reverse("admin:progress_save_changelist")
    page = client.get(url, {"q": str(player_client.player_id)})
    assert [save.slot for save in page.context["cl"].result_list] == ["main"]
    with CaptureQueriesContext(connection) as two:
        client.get(url)
    for number in range(9):
        put(player_client, slot=f"s{number}")
    with CaptureQueriesContext(connection) as many:
        client.get(url)
    assert len(two) == len(many)
    main = client.get(
        reverse("admin:progress_save_change", args=[Save.objects.get(slot="main").pk])
    )
    assert "restored from 1" in main.content.decode()


def test_restore__by_support__writes_a_new_version_with_a_reason(
    player_client: PlayerClient,
) -> None:
    put(player_client, b"good")
    put(player_client, b"broken", if_match='"1"')
    save = Save.objects.get()
    url = reverse("admin:progress_save_restore", args=[save.pk])
    client = staff("support")
    assert client.get(url).status_code == 200
    assert client.post(url, {"version": "1"}).context["form"].errors.keys() == {"reason"}
    answer = client.post(url, {"version": "1", "reason": "ticket 12"})
    assert answer.status_code == 302
    assert player_client.get("/v1/saves/main").content == b"good"
    entry = LogEntry.objects.get_for_object(save).latest("timestamp")
    assert entry.additional_data == {"restored_from": "1", "reason": "ticket 12"}
    assert entry.actor is not None
    assert staff("analyst").get(url).status_code == 403


def test_restore__slots_full__is_explained(player_client: PlayerClient, settings: Any) -> None:
    put(player_client)
    player_client.delete("/v1/saves/main", if_match="*")
    put(player_client, slot="other")
    settings.SAVE_MAX_SLOTS = 1
    url = reverse("admin:progress_save_restore", args=[Save.objects.get(slot="main").pk])
    answer = staff("support").post(url, {"version": "1", "reason": "ticket"})
    assert answer.status_code == 200
    assert "delete one first" in answer.content.decode()


def test_set_value__by_support__with_a_reason(game: Any, player_client: PlayerClient) -> None:
    stat = make_stat(game, "flowers", maximum=100)
    make_achievement(game, "meadow", stat, threshold=50, name="Meadow")
    url = reverse("admin:progress_stat_set_value", args=[stat.pk])
    client = staff("support")
    assert client.get(url).status_code == 200
    form = {"player": str(player_client.player_id), "value": "60", "reason": "lost flowers"}
    answer = client.post(url, form, follow=True)
    assert "This unlocked: Meadow." in answer.content.decode()
    assert values_of(player_client) == {"flowers": 60}
    entry = LogEntry.objects.get_for_object(stat).latest("timestamp")
    assert entry.additional_data["reason"] == "lost flowers"
    for changes in ({"value": "101"}, {"player": str(stat.pk)}):
        assert client.post(url, form | changes).status_code == 200
    assert values_of(player_client) == {"flowers": 60}
    assert staff("designer").post(url, form).status_code == 403


def test_panels__player_with_progress__shows_it(game: Any, player_client: PlayerClient) -> None:
    make_achievement(game, "bloom", make_stat(game, "flowers"), name="Bloom")
    make_achievement(game, "tea", threshold=4, name="Tea")
    report(player_client, flowers=3)
    player_client.post("/v1/achievements/tea/progress", {"progress": 2})
    put(player_client)
    player = Player.objects.get(pk=player_client.player_id)
    assert saves_panel(player).rows[0][:4] == ["main", 1, "private", 6]
    assert stats_panel(player).rows[0][:2] == ["flowers", 3]
    achievements = {row[0]: row[1:] for row in achievements_panel(player).rows}
    assert achievements["Tea"] == [2, "not yet"]
    assert achievements["Bloom"][0] == "–"
    page = staff("support").get(reverse("admin:accounts_player_change", args=[player.pk]))
    assert page.status_code == 200
    assert "Bloom" in page.content.decode()


def test_rows__have_names() -> None:
    assert str(Stat(key="flowers")) == "flowers"
    assert str(Save(slot="main", version=3)) == "main v3"
