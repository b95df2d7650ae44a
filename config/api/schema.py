"""OpenAPI from the `@endpoint` declarations, through drf-spectacular."""

import inspect
import re
from types import UnionType
from typing import Any, cast, get_args

import msgspec
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import Direction

from config.api import problems
from config.api.callers import CallerKind
from config.api.problems import FieldError, Problem
from config.api.routing import KeyConverter
from config.api.views import Contract

REF = "#/components/schemas/{name}"
SECURITY: dict[CallerKind, str] = {"game": "GameKey", "player": "Player", "server": "ServerKey"}


class ProblemDocument(msgspec.Struct, kw_only=True):
    """An error (RFC 9457). `code` is stable; `instance` is the request id."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[FieldError] = []


class StructExtension(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # half typed
    """Teaches drf-spectacular to read msgspec Structs."""

    target_class = "msgspec.Struct"
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: Direction) -> str:
        return component_name(self.target)

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        (schema,), components = msgspec.json.schema_components([self.target], ref_template=REF)
        own = schema.get("$ref", "").rpartition("/")[2]
        for name, part in components.items():
            part.pop("title", None)
            if name != own:
                auto_schema.registry.register_on_missing(_component(name, part))
        return cast(dict[str, Any], components[own] if own else schema)


def _component(name: str, schema: dict[str, Any]) -> ResolvedComponent:
    return ResolvedComponent(  # type: ignore[no-untyped-call]  # half typed
        name=name, type=ResolvedComponent.SCHEMA, object=name, schema=schema
    )


def component_name(kind: Any) -> str:
    """The component's name that msgspec gives this Struct (`Page[Entry]` → `Page_Entry_`)."""
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    return str(schema["$ref"].rpartition("/")[2])


class EndpointSchema(AutoSchema):
    """Reads operations from `Contract`s instead of guessing them from serializers."""

    def _action(self) -> str:
        return str(getattr(self.view, "action", None) or "")

    @property
    def contract(self) -> Contract:
        return cast(Contract, getattr(self.view, self._action()).contract)

    def is_excluded(self) -> bool:
        return not hasattr(getattr(self.view, self._action(), None), "contract")

    def get_operation_id(self) -> str:
        name = re.sub(r"ViewSet$", "", type(self.view).__name__)
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        return f"{words}_{self._action()}"

    def get_tags(self) -> list[str]:
        return [type(self.view).__module__.partition(".")[0]]

    def _doc(self) -> tuple[str, str]:
        text = inspect.getdoc(getattr(self.view, self._action())) or ""
        summary, _, rest = text.partition("\n\n")
        return " ".join(summary.split()), rest

    def get_summary(self) -> str:
        return self._doc()[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]  # it may be None there
        contract = self.contract
        _, text = self._doc()
        if contract.scope:
            text += f"\n\nServer keys need the scope `{contract.scope}`."
        if contract.problems:
            codes = ", ".join(f"`{p.code}` ({p.status})" for p in contract.problems)
            text += f"\n\nProblems: {codes}."
        return text.strip()

    def get_auth(self) -> list[dict[str, Any]]:
        return [{SECURITY[kind]: []} for kind in self.contract.callers]

    def get_request_serializer(self) -> Any:
        return None

    def _get_request_body(self, direction: Direction = "request") -> Any:
        contract = self.contract
        if contract.raw_body:
            content = {kind: {"schema": _raw_schema(kind)} for kind in contract.raw_body}
            return {"content": content, "required": True}
        if contract.body is None:
            return None
        media: dict[str, Any] = {"schema": self._reference(contract.body)}
        if contract.example is not None:
            media["example"] = contract.example
        return {"content": {"application/json": media}, "required": True}

    def _reference(self, kind: Any) -> Any:
        if kind is bytes:
            return {"type": "string", "format": "binary"}
        if isinstance(kind, UnionType):
            # msgspec describes a union of Structs only if they are tagged; answers are not.
            return {"anyOf": [self._reference(option) for option in get_args(kind)]}
        (schema,), components = msgspec.json.schema_components([kind], ref_template=REF)
        for name, part in components.items():
            part.pop("title", None)
            self.registry.register_on_missing(_component(name, part))
        return schema

    def _get_response_bodies(self, direction: Direction = "response") -> dict[str, Any]:
        contract = self.contract
        problem = {"application/problem+json": {"schema": self._reference(ProblemDocument)}}
        bodies: dict[str, Any] = {}
        for status, kind in contract.answers.items():
            entry: dict[str, Any] = {"description": _STATUS.get(status, "Done")}
            if kind is bytes:
                entry["content"] = {
                    media: {"schema": _raw_schema(media)}
                    for media in ("application/octet-stream", "application/json")
                }
            elif kind is not None:
                entry["content"] = {"application/json": {"schema": self._reference(kind)}}
            bodies[str(status)] = entry
        for kind in self._problems():
            entry = bodies.setdefault(
                str(kind.status), {"description": kind.title, "content": problem}
            )
            if kind.title not in entry["description"]:
                entry["description"] += f"; {kind.title}"
        return dict(sorted(bodies.items()))

    def _problems(self) -> list[type[Problem]]:
        contract = self.contract
        found: list[type[Problem]] = list(contract.problems)
        if contract.callers:
            found += [problems.NotAuthenticated, problems.Forbidden, problems.RateLimited]
        if "{" in self.path:
            found.append(problems.NotFound)
        if contract.query or contract.body or contract.raw_body or contract.callers:
            found.append(problems.BadRequest)
        if contract.body or contract.raw_body:
            found += [problems.BodyTooLarge, problems.UnsupportedMediaType, problems.LengthRequired]
        if contract.idempotent != "no":
            found += [problems.IdempotencyInProgress, problems.IdempotencyKeyReused]
        if "If-Match" in contract.headers:
            found += [problems.PreconditionRequired, problems.VersionConflict]
        return [*found, problems.Unavailable]

    def get_override_parameters(self) -> list[Any]:
        return []

    def _get_parameters(self) -> list[dict[str, Any]]:
        contract = self.contract
        parameters = [
            {"in": "path", "name": name, "required": True, "schema": _path_schema(kind, name)}
            for kind, name in _PATH.findall(self.path_regex)
        ]
        if contract.query is not None:
            schema = msgspec.json.schema(contract.query)
            name = schema["$ref"].rpartition("/")[2]
            described = schema["$defs"][name]
            for key, part in described["properties"].items():
                required = key in described.get("required", [])
                parameters.append(
                    {"in": "query", "name": key, "required": required, "schema": _nullable(part)}
                )
        headers = dict(contract.headers)
        if contract.idempotent != "no":
            headers["Idempotency-Key"] = "The same key and body act once (1–200 ASCII characters)"
        for key, text in headers.items():
            required = key == "Idempotency-Key" and (contract.idempotent in ("required", "domain"))
            shape: dict[str, Any] = {"type": "string"}
            if key == "Idempotency-Key":
                shape |= {"minLength": 1, "maxLength": 200, "pattern": "^[\\x21-\\x7e]+$"}
            parameters.append(
                {
                    "in": "header",
                    "name": key,
                    "required": required,
                    "description": text,
                    "schema": shape,
                }
            )
        return parameters


_PATH = re.compile(r"<(?:(\w+):)?(\w+)>")
_STATUS = {200: "OK", 201: "Created", 202: "Accepted", 204: "Done; no content"}


def _nullable(part: dict[str, Any]) -> dict[str, Any]:
    """A query parameter can be left out, but never be null."""
    options = [option for option in part.get("anyOf", []) if option != {"type": "null"}]
    if not options:
        return {key: value for key, value in part.items() if key != "default" or value is not None}
    rest = {k: v for k, v in part.items() if k not in ("anyOf", "default")}
    return rest | (options[0] if len(options) == 1 else {"anyOf": options})


def _path_schema(kind: str, name: str) -> dict[str, Any]:
    if kind == "uuid":
        return {"type": "string", "format": "uuid"}
    if kind == "int":
        return {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    if kind == "key":
        return {"type": "string", "pattern": f"^{KeyConverter.regex}$"}
    return {"type": "string", "minLength": 1, "maxLength": 200}


def _raw_schema(media: str) -> dict[str, Any]:
    return {} if media == "application/json" else {"type": "string", "format": "binary"}


def finish(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Small things that hold for all operations: 404 of the problem type, sorted components."""
    result["components"]["schemas"] = dict(sorted(result["components"]["schemas"].items()))
    return result
