"""Reads go to a replica only where the code says so."""

from typing import Any

from config.db.replicas import ReplicaRouter, from_replica
from config.models import HookCall


def test_router__outside_the_block__primary(settings: Any) -> None:
    settings.DATABASES = {**settings.DATABASES, "replica0": {}}
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
