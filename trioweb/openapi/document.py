"""The document: all routes of an app as OpenAPI 3.2.

Its order does not depend on that of imports or registration: paths, components and statuses are sorted, so that a file
with it changes where the API does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Final

from trioweb.ground.encoding import NotFiniteError
from trioweb.ground.problems import PROBLEM_TYPE
from trioweb.ground.templates import without_converters
from trioweb.handlers.endpoint import Planned
from trioweb.openapi.operations import PROBLEMS, Writer
from trioweb.openapi.schemas import Schema, plain
from trioweb.openapi.takes import Takes

VERSION: Final = "3.2.0"
_METHODS: Final = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "QUERY")
"""The methods that have a field of their own; others are additional operations."""
_PARAMETER: Final = re.compile(r"\{([^{}:]*)(?::[^{}]*)?\}")
_FAULT: Final[Schema] = {
    "type": "object",
    "properties": {
        "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
        "msg": {"type": "string"},
    },
    "required": ["loc", "msg"],
}
_PROBLEM: Final[Schema] = {
    "description": "What is wrong (RFC 9457).",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": _FAULT, "description": "Of a 422: the inputs that do not fit."},
    },
    "required": ["type", "title", "status"],
}


def describe(planned: Iterable[Planned], mounts: Sequence[str], title: str, version: str, about: str) -> Schema:
    """The description of an API.

    Args:
        planned: the routes of an app.
        mounts: the paths at which it has mounted other apps.
        title: the name of the API.
        version: the version of the API, and not of OpenAPI.
        about: more about it; may be Markdown.

    Raises:
        ValueError: if two dependencies call different security schemes by the same name, or a status is none.
    """
    writer = Writer()
    shown = [each for each in planned if each.route.options.get("include_in_schema", True)]
    paths = _paths([each for each in shown if not each.route.is_websocket], writer)
    document: Schema = {"openapi": VERSION, "info": {"title": title, "version": version}}
    if about:
        document["info"]["description"] = about
    document["paths"] = paths
    sockets = [_socket(each, writer) for each in shown if each.route.is_websocket]
    schemas = writer.finish(_PROBLEM)
    components: Schema = {"schemas": dict(sorted(schemas.items()))} if schemas else {}
    if writer.problems:
        components["responses"] = dict(_problem(*PROBLEMS[code], writer) for code in sorted(writer.problems))
    if writer.schemes:
        components["securitySchemes"] = dict(sorted(writer.schemes.items()))
    if components:
        document["components"] = components
    # OpenAPI has no words for these: they are named, and no more.
    if sockets:
        document["x-websockets"] = sorted(sockets, key=lambda socket: str(socket["path"]))
    if mounts:
        document["x-mounts"] = sorted(mounts)
    try:
        written = plain(document)
    except NotFiniteError:  # a default of infinity, for instance
        written = plain(_finite(document))
    assert isinstance(written, dict)  # noqa: S101 - as it was before
    return written


def _finite(part: object) -> object:
    """A part of a document without the members that have a number which JSON has not."""
    if isinstance(part, dict):
        return {key: _finite(each) for key, each in part.items() if not _is_infinite(each)}
    return [_finite(each) for each in part] if isinstance(part, (list, tuple)) else part


def _is_infinite(part: object) -> bool:
    if isinstance(part, (list, tuple)):
        return any(map(_is_infinite, part))
    return isinstance(part, float) and not isfinite(part)


def _paths(planned: Sequence[Planned], writer: Writer) -> Schema:
    """The Path Items. Paths that differ by the names of their parameters only are one, with the names of the first."""
    items: dict[str, tuple[str, Schema]] = {}  # by the path without names
    taken: dict[str, int] = {}
    for route, *_ in planned:
        taken[route.name] = taken.get(route.name, 0) + len(route.methods)
    for each in sorted(planned, key=lambda each: (_PARAMETER.sub("{}", each.route.path), each.route.path)):
        route = each.route
        shape = _PARAMETER.sub("{}", route.path)
        path, item = items.setdefault(shape, (without_converters(route.path), {}))
        names = _PARAMETER.findall(path)
        own = _PARAMETER.findall(route.path)
        converters = each.template.parameters
        parameters = {name: (mine, converters[mine]) for name, mine in zip(names, own, strict=True)}
        for method in sorted(route.methods, key=_rank):
            name = route.name if taken[route.name] == 1 else f"{route.name}_{_slug(method, route.path)}"
            operation = writer.operation(each, name, parameters)
            place = item if method in _METHODS else item.setdefault("additionalOperations", {})
            key = method.lower() if method in _METHODS else method
            if key in place:  # they differ by a converter, which OpenAPI cannot tell apart
                place[key].setdefault("x-also", []).append(f"{method} {route.path}")
            else:
                place[key] = operation
    return {path: _ordered(item) for path, item in sorted(items.values(), key=lambda each: each[0])}


def _ordered(item: Schema) -> Schema:
    return {key: item[key] for key in sorted(item, key=lambda key: _rank(key.upper()))}


def _rank(method: str) -> tuple[int, str]:
    return (_METHODS.index(method) if method in _METHODS else len(_METHODS), method)


def _slug(method: str, path: str) -> str:
    return re.sub(r"\W+", "_", method.lower() + _PARAMETER.sub(r"\1", path)).strip("_")


def _socket(planned: Planned, writer: Writer) -> Schema:
    route, template, endpoint = planned
    takes = Takes(
        endpoint.arguments, {name: (name, each) for name, each in template.parameters.items()}, writer.schemas
    )
    return {"path": without_converters(route.path), "name": route.name, "parameters": takes.parameters()}


def _problem(name: str, about: str, writer: Writer) -> tuple[str, Schema]:
    return name, {"description": about, "content": {PROBLEM_TYPE: {"schema": writer.problem}}}
