"""The data plane as an OpenAPI document, from the table of operations and the models."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from lote.wire.answers import ENTITIES, LISTS
from lote.wire.operations import OPERATIONS, Operation
from lote.wire.shared import BatchError
from lote.wire.versions import NEWEST

Document = dict[str, Any]

_FILES = frozenset({"download_node_file", "download_task_file", "get_remote_desktop"})

_QUERY: dict[str, tuple[str, Document]] = {
    "maxresults": ("maxresults", {"type": "integer", "minimum": 1, "maximum": 1000}),
    "filter": ("$filter", {"type": "string"}),
    "select": ("$select", {"type": "string"}),
    "expand": ("$expand", {"type": "string", "enum": ["stats"]}),
    "recursive": ("recursive", {"type": "boolean"}),
    "force": ("force", {"type": "boolean"}),
    "starttime": ("startTime", {"type": "string", "format": "date-time"}),
    "endtime": ("endtime", {"type": "string", "format": "date-time"}),
}
_CONDITIONS = {
    "all": ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"),
    "modified": ("If-Modified-Since", "If-Unmodified-Since"),
    "none": (),
}
_GROUPS = (
    ("Certificates", "/certificates"),
    ("Nodes", "/pools/{pool_id}/nodes"),
    ("Pools", "/pools"),
    ("Job schedules", "/jobschedules"),
    ("Tasks", "/jobs/{job_id}/tasks"),
    ("Jobs", "/jobs"),
    ("Account", "/"),
)
_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)}")


def openapi_document(version: str) -> Document:
    """The document; ``version`` is the program's. Every operation that is carried out is in it."""
    carried_out = [row for row in OPERATIONS if row.real]
    taken = [row.takes for row in carried_out if row.takes is not None]
    shown: list[type[msgspec.Struct]] = [*LISTS.values(), *ENTITIES.values(), BatchError]
    _, schemas = msgspec.json.schema_components([*taken, *shown], ref_template=_REFERENCE)
    _close(schemas, shown)
    paths: Document = {}
    for row in carried_out:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lote data plane",
            "version": version,
            "description": "Azure Batch's data plane as Lote answers it.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "SharedKey": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
        },
        "security": [{"SharedKey": []}],
    }


def _close(schemas: Document, shown: list[type[msgspec.Struct]]) -> None:
    """Say that answers have no other members, and add for each entity what ``$select`` leaves."""
    entities = {struct.__name__ for struct in shown}
    for name, schema in list(schemas.items()):
        if schema.get("type") == "object" and name not in entities:
            schema["additionalProperties"] = False
        elif name in entities:
            schemas[f"{name}Selection"] = {
                "title": f"{name}Selection",
                "type": "object",
                "properties": schema["properties"],
            }


def _operation(row: Operation) -> Document:
    shown: Document = {
        "operationId": row.name,
        "tags": [next(name for name, path in _GROUPS if row.path.startswith(path))],
        "parameters": _parameters(row),
        "responses": {
            str(row.status): _success(row),
            "default": _content("An error.", _reference(BatchError), "application/json"),
        },
    }
    if row.conditions != "none" and row.method in ("GET", "HEAD"):
        shown["responses"]["304"] = {"description": "Not modified."}
    if row.method == "HEAD":
        shown["responses"]["default"] = {"description": "An error."}
    if row.takes is not None:
        shown["requestBody"] = {
            "required": not row.takes_optional,
            "content": {"application/json": {"schema": _reference(row.takes)}},
        }
    return shown


def _parameters(row: Operation) -> list[Document]:
    version = {"type": "string", "enum": [NEWEST], "default": NEWEST}
    if row.until is not None:
        version = {"type": "string", "enum": [row.until], "default": row.until}
    found: list[Document] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(row.path)
    ]
    found.append({"name": "api-version", "in": "query", "required": True, "schema": version})
    for option in sorted(row.query):
        name, schema = _QUERY[option]
        found.append({"name": name, "in": "query", "schema": schema})
    text = {"type": "string", "pattern": "^[!-~]([ -~]*[!-~])?$"}  # what a header can hold
    names = _CONDITIONS[row.conditions]
    return found + [{"name": name, "in": "header", "schema": text} for name in names]


def _success(row: Operation) -> Document:
    if row.name in _FILES:
        return _content("A file.", {"type": "string", "format": "binary"}, "*/*")
    if row.name in ENTITIES:
        return _content("Done.", _shown(row, ENTITIES[row.name]), "application/json")
    if row.name in LISTS:
        item = _shown(row, LISTS[row.name])
        schema = {
            "type": "object",
            "properties": {
                "odata.metadata": {"type": "string"},
                "odata.nextLink": {"type": "string"},
                "value": {"type": "array", "items": item},
            },
            "required": ["odata.metadata", "value"],
            "additionalProperties": False,
        }
        return _content("One page.", schema, "application/json")
    return {"description": "Done."}


def _shown(row: Operation, struct: type[msgspec.Struct]) -> Document:
    """An entity; with ``$select`` it may lack members that are required otherwise."""
    whole = _reference(struct)
    if "select" in row.query:
        whole = {"$ref": _REFERENCE.format(name=f"{struct.__name__}Selection")}
    metadata = {"type": "object", "properties": {"odata.metadata": {"type": "string"}}}
    return {"allOf": [whole, metadata], "unevaluatedProperties": False}


def _reference(struct: type[msgspec.Struct]) -> Document:
    return {"$ref": _REFERENCE.format(name=struct.__name__)}


def _content(description: str, schema: Document, kind: str) -> Document:
    return {"description": description, "content": {kind: {"schema": schema}}}
