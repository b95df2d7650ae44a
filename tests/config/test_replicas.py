"""Reads go to a replica only where the code says so."""

from types import SimpleNamespace

import pytest

from config.db import replicas
from config.db.replicas import ReplicaRouter, from_replica
from config.models import HookCall


def test_router__outside_the_block__primary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = SimpleNamespace(DATABASES={"default": {}, "replica0": {}})
    monkeypatch.setattr(replicas, "settings", two)
    assert HookCall.objects.all().db == "default"
    with from_replica():
        assert HookCall.objects.all().db == "replica0"
        assert ReplicaRouter().db_for_write(HookCall) == "default"
    assert HookCall.objects.all().db == "default"


def test_router__no_replica_configured__primary() -> None:
    with from_replica():
        assert HookCall.objects.all().db == "default"


def test_router__migrations__only_on_the_primary() -> None:
    router = ReplicaRouter()
    assert router.allow_migrate("default", "config")
    assert not router.allow_migrate("replica0", "config")
    assert router.allow_relation(None, None)
