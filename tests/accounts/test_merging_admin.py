"""Merges in the back office: seen, and undone with what that would do told before."""

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts.models import Merge, Player
from tests.accounts.test_admin import change_url, client_of
from tests.factories.accounts import PlayerFactory
from tests.factories.merging import merge
from tests.factories.store import CurrencyFactory, give

pytestmark = pytest.mark.django_db


@pytest.fixture
def made() -> Merge:
    survivor = PlayerFactory.create()
    absorbed = PlayerFactory.create(game=survivor.game)
    CurrencyFactory.create(game=survivor.game, key="gems")
    give(absorbed, {"gems": 1234})
    return merge(survivor, absorbed)


def undo_url(made: Merge) -> str:
    return reverse("admin:accounts_merge_undo", args=[made.pk])


def page(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.mark.parametrize("role", ["support", "admin"])
def test_undo__by_who_helps_players(made: Merge, role: str) -> None:
    client = client_of(role)
    asked = page(client, undo_url(made))
    assert "store · returned · currencies · gems: 1234" in asked
    assert Merge.objects.get().state == Merge.State.SETTLING

    answer = client.post(undo_url(made), {"reason": "It was not theirs"})

    assert answer.status_code == 302
    row = Merge.objects.get()
    assert (row.state, row.reason) == (Merge.State.UNDONE, "It was not theirs")
    assert Player.objects.get(pk=row.absorbed_id).merged_into_id is None
    assert LogEntry.objects.get_for_object(row).get().changes["state"] == ["settling", "undone"]
    assert "What the undo gave back" in page(client, change_url(row))
    # A second time it says why not.
    assert "undone already" in page(client, undo_url(made))
    assert "undone already" in client.post(undo_url(made), {"reason": "x"}).content.decode()


@pytest.mark.parametrize("role", ["designer", "analyst"])
def test_merges__are_for_who_helps_players(made: Merge, role: str) -> None:
    client = client_of(role)
    assert client.get(change_url(made)).status_code == 403
    assert client.post(undo_url(made), {"reason": "x"}).status_code == 403
    assert Merge.objects.get().state == Merge.State.SETTLING


def test_pages__show_both_players(made: Merge) -> None:
    client = client_of("support")
    for player in (made.survivor, made.absorbed):
        listed = page(client, reverse("admin:accounts_merge_changelist") + f"?q={player.pk}")
        assert str(made.survivor) in listed
    assert "merged" in page(client, change_url(made.absorbed))
    shown = page(client, change_url(made))
    assert "moved · currencies · gems" in shown
    assert change_url(made.absorbed) in shown
