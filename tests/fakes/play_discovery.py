"""Google's own description of its API, as the judge of what is asked of it and what it answers.

It ships with google-api-python-client: androidpublisher v3.
"""

import json
import re
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

from tests.fakes.faults import Answer, Request

STANDARD = {"alt", "fields", "key", "prettyPrint"}
Json = dict[str, Any]


@cache
def document() -> Json:
    source = files("googleapiclient.discovery_cache") / "documents" / "androidpublisher.v3.json"
    found: Json = json.loads(source.read_text(encoding="utf-8"))
    return found


def judge(request: Request, answer: Answer | None) -> str:
    """The id of the method that was asked for. Raises `AssertionError` for what Google would
    not know: a path, a method, a parameter, a body; a field or a value in its answer, if any."""
    found = [
        (method, match)
        for method in _methods(document()["resources"])
        if method["httpMethod"] == request.method
        and (match := _pattern(method["path"]).fullmatch(request.path.lstrip("/")))
    ]
    assert len(found) == 1, f"{request.method} {request.path} is no method of Google's"
    method, match = found[0]
    _judge_parameters(method, request, match.groupdict())
    if method.get("request") and request.body:
        _judge_value(request.json(), method["request"], "body")
    else:
        assert not request.body, f"{method['id']} takes no body"
    if answer and answer.status == 200 and method.get("response"):
        _judge_value(answer.body, method["response"], "answer")
    elif answer and answer.status < 300:
        assert answer.data() == b"", f"{method['id']} answers nothing"
    name: str = method["id"]
    return name


def _methods(resources: Json) -> list[Json]:
    found = []
    for resource in resources.values():
        found += resource.get("methods", {}).values()
        found += _methods(resource.get("resources", {}))
    return found


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{\+?(\w+)\}", template)
    return re.compile(
        "".join(
            f"(?P<{part}>[^/:]+)" if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
    )


def _judge_parameters(method: Json, request: Request, in_path: dict[str, str]) -> None:
    known = method.get("parameters", {})
    for name, value in in_path.items():
        assert known[name]["location"] == "path"
        assert unquote(value).strip(), f"{name} is empty"
    for name, values in request.query.items():
        if name in STANDARD:
            continue
        assert known.get(name, {}).get("location") == "query", f"{method['id']} has no {name}"
        assert len(values) == 1 or known[name].get("repeated"), f"{name} is given twice"
        for value in values:
            _judge_text(value, known[name])
    for name, parameter in known.items():
        if parameter.get("required"):
            assert name in in_path or name in request.query, f"{name} is missing"


def _judge_text(value: str, schema: Json) -> None:
    if schema["type"] == "boolean":
        assert value in ("true", "false")
    elif schema["type"] == "integer" or schema.get("format") in ("int64", "uint64"):
        assert re.fullmatch(r"-?\d+", value), value


def _judge_value(value: Any, schema: Json, at: str) -> None:
    if "$ref" in schema:
        schema = document()["schemas"][schema["$ref"]]
    kind = schema["type"]
    if kind == "object":
        assert isinstance(value, dict), at
        known = schema.get("properties", {})
        for name, part in value.items():
            assert name in known, f"{at} has no {name}"
            _judge_value(part, known[name], f"{at}.{name}")
    elif kind == "array":
        assert isinstance(value, list), at
        for number, part in enumerate(value):
            _judge_value(part, schema["items"], f"{at}[{number}]")
    elif kind == "integer":
        assert type(value) is int, at
    elif kind == "boolean":
        assert type(value) is bool, at
    else:
        assert isinstance(value, str), at
        assert value in schema.get("enum", [value]), f"{at} can't be {value}"
        if schema.get("format") == "int64":
            assert re.fullmatch(r"-?\d+", value), at
        if schema.get("format") == "google-datetime":
            datetime.fromisoformat(value)
