"""The description of the issuer API, OpenAPI 3.1, from the table of endpoints and the shapes that they name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from amp0.protocol import issuer as wire
from amp0.server.issuer.endpoint import Endpoint, Who
from amp0.server.issuer.table import by_path, tag_of

_REF = "#/components/schemas/{name}"
_SERVER = "/api"
_INTEGERS = frozenset({"id", "uid", "height", "rule_id", "change_id", "assignment_id"})
_HEX = frozenset({"txid"})
_FOLLOWED_BY_NO_LINE_BREAK = r"(?!\n)"

_DETAIL = {
    "type": "object",
    "title": "Detail",
    "description": "Who may do what, and what is there.",
    "properties": {"detail": {"type": "string"}},
    "required": ["detail"],
}
_ERROR = {
    "type": "object",
    "title": "Error",
    "description": "The request is well formed, and the state of things does not allow it.",
    "properties": {"Error": {"type": "string"}},
    "required": ["Error"],
}
_FIELDS = {
    "type": "object",
    "title": "Fields",
    "description": "Input that is wrong, by field; non_field_errors where it is no single field's fault.",
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
}
_ABOUT = """\
What an issuer of regulated assets talks to. Every path answers with and without a trailing slash. Bodies are JSON,
whatever their content type. Amounts are integers of satoshi (1e-8 of one) unless a field says otherwise.

Log in with `POST /user/obtain_token`, and send the token with every request: `Authorization: token <TOKEN>`.
"""


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The description of these endpoints, as JSON data."""
    types = [kind for endpoint in endpoints for kind in (endpoint.answer, endpoint.body) if kind is not None]
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths = {
        path: {method.lower(): _operation(method, endpoint, schema_of) for method, endpoint in methods.items()}
        for path, methods in by_path(endpoints).items()
    }
    description = {
        "openapi": "3.1.0",
        "info": {"title": "AMP0 issuer API", "version": wire.VERSION, "description": _ABOUT},
        "servers": [{"url": _SERVER}],
        "tags": [{"name": tag} for tag in dict.fromkeys(map(tag_of, endpoints))],
        "paths": paths,
        "components": {
            "schemas": {**components, "Detail": _DETAIL, "Error": _ERROR, "Fields": _FIELDS},
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The word `token`, a space, and the token.",
                }
            },
        },
    }
    portable: dict[str, Any] = _portable(description)
    return portable


def _operation(method: str, endpoint: Endpoint, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    text = inspect.getdoc(endpoint.function) or ""
    summary, _, rest = text.partition("\n\n")
    name = str(endpoint.function.__name__)
    operation: dict[str, Any] = {
        "operationId": f"{tag_of(endpoint)}.{name}" + (f".{method.lower()}" if len(endpoint.methods) > 1 else ""),
        "summary": _prose(summary),
        "tags": [tag_of(endpoint)],
        "security": [] if endpoint.who is Who.ANYBODY else [{"token": []}],
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(endpoint)],
        "responses": _responses(endpoint, schema_of),
        "x-who": endpoint.who.value,
    }
    if rest:
        operation["description"] = _prose(rest)
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(schema_of[endpoint.body])}
    return operation


def _prose(text: str) -> str:
    """A docstring without its markup for Python's eyes."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text).replace("``", "`")
    return re.sub(r"[ \t]*\n(?!\n)[ \t]*", " ", text).strip()


def _path_parameters(path: str) -> list[dict[str, Any]]:
    found = []
    for name in re.findall(r"{(\w+)}", path):
        schema: dict[str, Any] = {"type": "string"}
        if name in _INTEGERS:
            schema = {"type": "integer", "minimum": 0 if name == "height" else 1, "maximum": 2**63 - 1}
        elif name.endswith("uuid"):
            schema = {"type": "string", "format": "uuid"}
        elif name in _HEX:
            schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    found = []
    for field in msgspec.structs.fields(endpoint.query):
        schema = msgspec.json.schema(field.type, ref_template=_REF)
        # An absent parameter is what null means in the JSON form of these.
        schema = _without_null(schema)
        found.append({"name": field.encode_name, "in": "query", "required": False, "schema": schema})
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in schema:
        rest = [one for one in schema["anyOf"] if one != {"type": "null"}]
        return rest[0] if len(rest) == 1 else {**schema, "anyOf": rest}
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    return schema


def _responses(endpoint: Endpoint, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Done."}
    if endpoint.answer is not None:
        success["content"] = _json(schema_of[endpoint.answer])
    responses = {str(endpoint.status): success}

    def refuses(status: int, text: str, *shapes: str) -> None:
        refs = [{"$ref": _REF.format(name=shape)} for shape in shapes]
        schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
        responses[str(status)] = {"description": text, "content": _json(schema)}

    refuses(400, "The input is wrong, or the state of things does not allow it.", "Error", "Detail", "Fields")
    if endpoint.who is not Who.ANYBODY:
        refuses(401, "No token, or one that is not live (any more).", "Detail")
    refuses(403, "The login may not do this.", "Detail")
    if "{" in endpoint.path:
        refuses(404, "There is no such thing, or it is somebody else's.", "Detail")
    refuses(413, "The body is too large.", "Detail")
    refuses(429, "Too many requests; Retry-After says how many seconds to wait.", "Detail")
    refuses(503, "Not now: chain, store or workers are not available.", "Detail")
    return responses


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _portable(value: Any) -> Any:
    """The same data, with patterns as other languages write them: their ``$`` is the end and nothing else."""
    if isinstance(value, dict):
        return {
            name: item.replace(_FOLLOWED_BY_NO_LINE_BREAK, "")
            if name == "pattern" and isinstance(item, str)
            else _portable(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    return value
