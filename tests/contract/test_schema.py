"""The committed OpenAPI document is what the code says, and says enough."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command

from tests.contract.operations import all_operations
from tests.fixtures.api import ApiClient

pytestmark = pytest.mark.once

COMMITTED = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The document as the code makes it now; fails on any warning, and when it isn't valid."""
    path = tmp_path_factory.mktemp("schema") / "openapi.yaml"
    call_command("spectacular", file=str(path), validate=True, fail_on_warn=True)
    return path.read_text(encoding="utf-8")


def read(text: str | bytes) -> dict[str, Any]:
    # The C scanner: the Python one takes seconds for a document of this size.
    loaded: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return loaded


@pytest.fixture(scope="module")
def document(generated: str) -> dict[str, Any]:
    return read(generated)


def test_document__is_the_committed_one(generated: str) -> None:
    assert COMMITTED.read_text(encoding="utf-8") == generated, "Run `make schema` and commit it"


def test_document__has_every_endpoint(document: dict[str, Any]) -> None:
    described = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    existing = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(o)) for o in all_operations()}

    assert described == existing


def test_document__tells_what_a_reader_needs(document: dict[str, Any]) -> None:
    """A sentence, an id of its own, who may call, and problem documents for what goes wrong."""
    ids = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            ids.append(operation["operationId"])
            assert 5 < len(operation["summary"]) < 120, where
            assert operation["tags"], where
            for status, answer in operation["responses"].items():
                if status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"], where
    assert len(ids) == len(set(ids))


@pytest.mark.django_db
def test_document__is_served(document: dict[str, Any], anonymous: ApiClient) -> None:
    answer = anonymous.get("/v1/schema/")

    assert answer.status_code == 200
    assert read(answer.content) == document


@pytest.mark.django_db
def test_pages__make_no_request_elsewhere(anonymous: ApiClient) -> None:
    page = anonymous.get("/docs/").content.decode()

    assert re.findall(r'(?:src|href)="(https?:)?//[^"]*"', page) == []
    assert "swagger-ui" in page
