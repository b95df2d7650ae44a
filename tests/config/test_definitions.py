"""A game's content in process caches: never older than the request."""

from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from config import redis
from config.api.gate import version_key
from config.db import definitions
from config.db.definitions import Definitions, changed, current_version, publish_version
from tests.fixtures.api import ApiClient
from tests.fixtures.faults import redis_down


def names() -> "Definitions[str]":
    from accounts.models import Game

    return Definitions("test", lambda game_id: str(Game.objects.get(pk=game_id).name))


@pytest.mark.django_db(transaction=True)
def test_get__unchanged__loaded_once(game: Any, django_assert_num_queries: Any) -> None:
    cache = names()
    definitions.use_version(game.pk, current_version(game.pk))
    assert cache.get(game.pk) == game.name
    with django_assert_num_queries(0):
        assert cache.get(game.pk) == game.name


@pytest.mark.django_db(transaction=True)
def test_get__changed_elsewhere__next_request_sees_it(game: Any) -> None:
    cache = names()
    assert cache.get(game.pk) == game.name
    with transaction.atomic():
        type(game).objects.filter(pk=game.pk).update(name="New")
        changed(game.pk)
    assert cache.get(game.pk) == "New"
    assert int(redis.client().get(version_key(game.pk)) or 0) == current_version(game.pk)


@pytest.mark.django_db(transaction=True)
def test_changed__rolled_back__nothing_kept_from_inside(game: Any) -> None:
    cache = names()
    before = current_version(game.pk)
    with transaction.atomic():
        type(game).objects.filter(pk=game.pk).update(name="Draft")
        changed(game.pk)
        assert cache.get(game.pk) == "Draft"
        transaction.set_rollback(True)
    assert current_version(game.pk) == before
    assert cache.get(game.pk) == game.name


@pytest.mark.django_db(transaction=True)
def test_get__in_a_transaction_of_a_request__kept_unless_it_changed_content(
    game: Any, django_assert_num_queries: Any
) -> None:
    cache = names()
    definitions.use_version(game.pk, current_version(game.pk))
    with transaction.atomic():
        cache.get(game.pk)
        with django_assert_num_queries(0):
            assert cache.get(game.pk) == game.name
        type(game).objects.filter(pk=game.pk).update(name="Draft")
        changed(game.pk)
        assert cache.get(game.pk) == "Draft"
        transaction.set_rollback(True)
    assert cache.get(game.pk) == game.name


@pytest.mark.django_db(transaction=True)
def test_request__after_another_on_the_same_thread__does_not_inherit_its_version(
    game: Any, anonymous: ApiClient
) -> None:
    definitions.use_version(game.pk, 1)
    anonymous.get("/healthz")
    assert current_version(game.pk) == definitions.version_in_database(game.pk)
    assert definitions._known.get() is None


@pytest.mark.django_db(transaction=True)
def test_publish_version__older_after_newer__keeps_the_newer(game: Any) -> None:
    publish_version(game.pk, 9)
    publish_version(game.pk, 8)
    assert int(redis.client().get(version_key(game.pk)) or 0) == 9


@pytest.mark.django_db(transaction=True)
def test_changed__redis_down__database_still_tells(game: Any) -> None:
    before = current_version(game.pk)
    with redis_down():
        changed(game.pk)
        assert current_version(game.pk) == before + 1


def test_get__more_games_than_it_keeps__stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "current_version", lambda game_id: 1)
    cache = Definitions("test", str, size=5)
    for number in range(20):
        cache.get(UUID(int=number))
    assert len(cache.kept) == 5


@pytest.mark.django_db
def test_current_version__unknown_game__is_negative() -> None:
    assert current_version(UUID(int=1)) == -1
    changed(UUID(int=1))
