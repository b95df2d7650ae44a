"""What is deployed fits together: secrets, certificate, compose file, image, alerts."""

import importlib.util
import re
import ssl
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import DNSName, SubjectAlternativeName, load_pem_x509_certificate
from prometheus_client import REGISTRY

from config.quickstart.layout import ROOT

pytestmark = pytest.mark.once

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = ("migrate", "web", "worker", "beat")


def script(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_secrets(directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(sys, "argv", ["make_secrets.py", str(directory)])
    assert script(DEPLOY / "make_secrets.py").main() == 0
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_make_secrets__first_and_second_time__makes_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "secrets"
    made = make_secrets(directory, monkeypatch)
    assert set(made) == set(COMPOSE["secrets"])
    assert directory.stat().st_mode & 0o777 == 0o700
    assert make_secrets(directory, monkeypatch) == made
    key = load_pem_private_key(made["access_token_keys"].encode(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    assert made["postgres_password"] in made["database_url"]
    password = re.search(r"requirepass (\S+)", made["valkey_conf"])
    assert password is not None
    assert f":{password[1]}@valkey" in made["redis_url"]
    assert f":{password[1]}@valkey" in made["broker_url"]


def test_prepare_nginx__self_signed__names_the_hosts_and_loads(tmp_path: Path) -> None:
    script(DEPLOY / "nginx" / "prepare.py").self_sign(tmp_path, ["play.example.com", "10.0.0.1"])
    certificate = load_pem_x509_certificate((tmp_path / "fullchain.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert names.get_values_for_type(DNSName) == ["play.example.com"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "fullchain.pem", tmp_path / "privkey.pem")


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_compose__every_service__has_least_privileges(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_compose__database_and_valkey__cannot_be_reached_from_outside() -> None:
    assert COMPOSE["networks"]["data"]["internal"] is True
    for name in ("postgres", "valkey"):
        assert COMPOSE["services"][name]["networks"] == ["data"]
        assert "ports" not in COMPOSE["services"][name]
    assert "data" not in COMPOSE["services"]["nginx"]["networks"]


def test_compose__secrets__are_files_that_the_service_has() -> None:
    for name in OURS:
        service = COMPOSE["services"][name]
        files = {
            value.rpartition("/")[2]
            for variable, value in service["environment"].items()
            if variable.endswith("_FILE")
        }
        assert files == set(service["secrets"])


def test_image__everything_that_it_copies__passes_dockerignore() -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY requirements"):
            assert set(line.split()[1:-1]) <= allowed
    apps = {path.parent.name for path in ROOT.glob("*/apps.py")}
    assert apps <= allowed


def test_alerts__metrics__exist() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    expressions = " ".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    asked = set(re.findall(r"evenkeel_\w+", expressions))
    known = {
        sample
        for metric in REGISTRY.collect()
        for sample in (metric.name, f"{metric.name}_total", f"{metric.name}_bucket")
    }
    assert asked <= known
