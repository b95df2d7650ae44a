"""Every operation that the API has, read from the same place as its OpenAPI document.

Tests that are parametrised with these cover an endpoint from the moment it exists.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from drf_spectacular.generators import EndpointEnumerator

from config.api.pagination import PageQuery
from config.api.views import Contract
from config.db.ids import uuid7

_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")


@dataclass(frozen=True)
class Operation:
    """One method of one address. `route` has Django's converters: `v1/saves/<key:slot>`."""

    method: str
    route: str
    contract: Contract

    def __str__(self) -> str:
        return f"{self.method} /{self.route}"

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """(kind, name) of each parameter in the path."""
        return [(kind or "str", name) for kind, name in _PARAMETER.findall(self.route)]

    def path(self, **known: object) -> str:
        """The address with `known` values, and believable ones that match nothing for the rest."""
        guesses: dict[str, object] = {"uuid": uuid7(), "int": 7, "key": "none_such"}

        def value(match: re.Match[str]) -> str:
            kind, name = match[1] or "str", match[2]
            return str(known.get(name, guesses.get(kind, "none_such")))

        return "/" + _PARAMETER.sub(value, self.route)

    @property
    def takes_body(self) -> bool:
        return self.contract.body is not None or bool(self.contract.raw_body)

    @property
    def is_list(self) -> bool:
        return self.contract.query is not None and issubclass(self.contract.query, PageQuery)

    def body(self) -> Any:
        """A body that the schema allows: the documented example, or else what is required."""
        if self.contract.example is not None:
            return self.contract.example
        return None if self.contract.body is None else minimal(self.contract.body)

    def query(self) -> str:
        """A query string with what is required."""
        if self.contract.query is None:
            return ""
        given = minimal(self.contract.query)
        return "?" + "&".join(f"{name}={value}" for name, value in given.items()) if given else ""


def minimal(kind: Any) -> Any:
    """The smallest value of a Struct: its required fields."""
    schema = msgspec.json.schema(kind)
    return _instance(schema, schema.get("$defs", {}))


def _instance(schema: dict[str, Any], known: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _instance(known[schema["$ref"].rpartition("/")[2]], known)
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0], known)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            return {name: _instance(schema["properties"][name], known) for name in required}
        case "array":
            count = schema.get("minItems", 0)
            return [_instance(schema.get("items", {}), known) for _ in range(count)]
        case "integer" | "number":
            return max(schema.get("minimum", 1), 1)
        case "boolean":
            return True
        case "null":
            return None
    formats = {
        "uuid": str(uuid7()),
        "date": "2026-01-01",
        "date-time": "2026-01-01T00:00:00Z",
    }
    if schema.get("format") in formats:
        return formats[schema["format"]]
    return "x" * max(schema.get("minLength", 1), 1)


def all_operations() -> list[Operation]:
    """All that `@endpoint` declared, by address and method."""
    found = []
    enumerator: Any = EndpointEnumerator()
    for _, regex, method, callback in enumerator.get_api_endpoints():
        action = getattr(callback, "actions", {}).get(method.lower())
        contract = getattr(getattr(callback.cls, action or "", None), "contract", None)
        if contract is not None:
            found.append(Operation(method, regex.lstrip("/"), contract))
    return sorted(found, key=str)


def named(operations: Iterable[Operation]) -> dict[str, Any]:
    """Arguments of `pytest.mark.parametrize` after the name."""
    listed = list(operations)
    return {"argvalues": listed, "ids": [str(operation) for operation in listed]}


@dataclass(frozen=True)
class Owned:
    """What other callers may try to reach, by (beginning of the route, path parameter).

    `values` are ids that belong to one player alone; `keys` are names that any game may have.
    """

    values: dict[tuple[str, str], UUID]
    keys: dict[tuple[str, str], str]

    def path(self, operation: Operation) -> str:
        known = {
            name: value
            for (start, name), value in (self.values | self.keys).items()
            if operation.route.startswith(start)
        }
        return operation.path(**known)
