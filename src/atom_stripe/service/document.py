"""The OpenAPI document of a service: the same in every framework, because it is made here."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from atom_stripe._version import VERSION
from atom_stripe.service.problems import KIND, MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from atom_stripe.service.operation import Operation

OPENAPI = "3.1.0"
_NAMES = re.compile(r"\{(\w+)\}")
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "pattern": f"^{KIND}[a-z_]+$"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": ["string", "null"], "description": "Stripe's code: https://docs.stripe.com/error-codes"},
        "decline_code": {"type": ["string", "null"]},
        "param": {"type": ["string", "null"], "description": "The parameter that Stripe complains of."},
        "request_id": {"type": ["string", "null"], "description": "Stripe's id of the request, for its support and its Dashboard."},
        "outcome_unknown": {"type": "boolean", "description": "Whether Stripe may have done it all the same."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "RFC 6901: where in the body."},
                    "parameter": {"type": "string", "description": "Which parameter of the query."},
                    "detail": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
_WORDS = {
    200: "It is so.",
    201: "It was made.",
    302: "Somewhere else: for browsers.",
    400: "It cannot be done as it stands.",
    401: "Nobody knows who calls.",
    402: "The card was declined.",
    404: "There is no such object.",
    409: "It does not fit what there is.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    422: "A parameter is not valid.",
    429: "Too many requests.",
    500: "The service failed.",
    502: "Stripe failed.",
    503: "Not now.",
    504: "Stripe did not answer in time.",
}
# What every route of the kind can come to.
_ALWAYS = {
    "open": (422, 429, 500, 503),
    "browser": (400, 409, 422, 429, 500, 502, 503, 504),
    "signed": (400, 404, 413, 500, 503),
    "caller": (400, 401, 404, 409, 422, 429, 500, 502, 503, 504),
    "operator": (401, 422, 429, 500, 503),
}


def document(operations: Iterable[Operation], *, prefix: str = "", title: str = "Stripe") -> dict[str, Any]:
    """Return the OpenAPI document of *operations*, mounted under *prefix*."""
    paths: dict[str, Any] = {}
    operations = tuple(operations)
    for operation in operations:
        paths.setdefault(prefix + operation.path, {})[operation.method.lower()] = described(operation, operations)
    return {"openapi": OPENAPI, "info": {"title": title, "version": VERSION}, "paths": paths}


def described(operation: Operation, operations: Iterable[Operation] = ()) -> dict[str, Any]:
    """Return what the document says of one operation, with links to those of *operations* that go on from its answer."""
    said: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.description:
        said["description"] = operation.description
    parameters = list(_parameters(operation))
    if parameters:
        said["parameters"] = parameters
    if operation.body is not None:
        said["requestBody"] = {
            "required": any(field.is_required() for field in operation.body.model_fields.values()),
            "content": {"application/json": {"schema": _inlined(operation.body)}},
        }
    elif operation.access == "signed":
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    said["responses"] = dict(_responses(operation))
    if links := dict(_links(operation, operations)):
        said["responses"][str(operation.status)]["links"] = links
    return said


def _links(operation: Operation, operations: Iterable[Operation]) -> Iterable[tuple[str, dict[str, Any]]]:
    """What was made, or stands first in a list, can be got, changed and ended by its id."""
    identity = "$response.body#/id" if operation.method == "POST" else "$response.body#/data/0/id"
    for one in operations:
        if one.path == f"{operation.path}/{{id}}":
            yield one.name, {"operationId": one.name, "parameters": {"id": identity}}


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in _NAMES.findall(operation.path):
        pattern = f"^({'|'.join(operation.prefixes)})[A-Za-z0-9_]+$" if operation.prefixes else "^[A-Za-z0-9_.-]+$"
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern, "maxLength": 255}}
    schema = _inlined(operation.query)
    required = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        yield {"name": name, "in": "query", "required": name in required, "schema": _without_null(one)}
    if operation.writes:
        description = (
            "Stripe does the same request under the same key once. Source: https://docs.stripe.com/api/idempotent_requests"
        )
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"}
        yield {"name": "Idempotency-Key", "in": "header", "required": False, "description": description, "schema": schema}
    if operation.access == "signed":
        schema = {"type": "string"}
        yield {"name": "Stripe-Signature", "in": "header", "required": True, "schema": schema}


def _responses(operation: Operation) -> Iterable[tuple[str, dict[str, Any]]]:
    success: dict[str, Any] = {"description": _WORDS[operation.status]}
    if operation.schema is not None:
        success["content"] = {operation.media_type: {"schema": operation.schema}}
    statuses: dict[int, dict[str, Any]] = {operation.status: success}
    if operation.redirects:
        location = {"Location": {"schema": {"type": "string"}}}
        statuses[302] = {"description": _WORDS[302], "headers": location}
    problems = {*_ALWAYS[operation.access], *operation.failures}
    if operation.method == "POST" and operation.access != "signed":
        problems |= {400, 413, 415}
    for status in problems:
        statuses[status] = {"description": _WORDS[status], "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
    if operation.unwell:
        statuses[503]["content"][operation.media_type] = {"schema": operation.schema}
    return ((str(status), statuses[status]) for status in sorted(statuses))


@cache
def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of *model* without references: it stands in documents that other programs make."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return replaced(definitions[value["$ref"].rpartition("/")[2]])
            # Titles are the names once more, and null as a default is what is not given.
            left = {name: part for name, part in value.items() if not (name == "title" and isinstance(part, str))}
            return {name: replaced(part) for name, part in left.items() if (name, part) != ("default", None)}
        return [replaced(part) for part in value] if isinstance(value, list) else value

    found: dict[str, Any] = replaced(schema)
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter of a URL, which cannot be null: it is there or not."""
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name not in {"anyOf", "default"}}
    return {**choices[0], **rest}
