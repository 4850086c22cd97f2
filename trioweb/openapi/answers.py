"""What a route answers, as OpenAPI writes it: of the annotation of what its handler returns.

A stream is described by its items (``itemSchema``, new in OpenAPI 3.2) under the media type that it is sent with.
"""

from __future__ import annotations

import collections.abc
import inspect
from collections.abc import Mapping
from typing import Any, Final, Never, NoReturn, get_args, get_origin

import msgspec
import trio

from trioweb.ground.annotations import Annotation
from trioweb.ground.chunks import (
    BYTES_LIKE,
    BYTES_TYPE,
    EVENTS_TYPE,
    JSON_LINES_TYPE,
    JSON_SEQ_TYPE,
    JSON_TYPE,
    TEXT_TYPE,
)
from trioweb.ground.errors import phrase_of
from trioweb.ground.http.events import ServerSentEvent
from trioweb.handlers.endpoint import Endpoint
from trioweb.handlers.signatures import Kind, Unresolved, returns_of
from trioweb.messages.files import FileResponse
from trioweb.messages.ranges import RangeResponse
from trioweb.messages.response import RedirectResponse, Response
from trioweb.openapi.schemas import Schema, Schemas, parts, union_of

UNSAID: Final = (inspect.Parameter.empty, Any, object)
"""Annotations that say nothing."""
_ITERATORS: Final = (
    collections.abc.AsyncIterable, collections.abc.Iterator, trio.abc.ReceiveChannel, trio.abc.ReceiveStream,
)  # fmt: skip
"""What is a stream by itself, with all that is derived from it."""


_SEQUENTIAL: Final = frozenset({EVENTS_TYPE, JSON_LINES_TYPE, JSON_SEQ_TYPE, "application/jsonl"})
"""Media types of bodies that are a series of items (section 4.14.3 of the specification)."""


_DESCRIPTIONS: Final = {
    "2XX": "Not described.",
    "3XX": "A redirect.",
    "416": "The range cannot be satisfied.",
    "default": "Any response.",
}


class Content(msgspec.Struct, frozen=True):
    """One kind of body.

    Attributes:
        media_type: its media type, without parameters.
        of: the type of the body, or of the items of a stream; ``UNSAID[0]`` if that is not said.
        is_stream: it is the type of the items.
    """

    media_type: str
    of: Annotation = UNSAID[0]
    is_stream: bool = False


def answers_of(endpoint: Endpoint, schemas: Schemas) -> dict[str, Schema]:
    """The responses of a route other than errors, by their status.

    Args:
        endpoint: the plan of the route.
        schemas: where types are collected.
    """
    annotation = returns_of(endpoint.handler)
    if isinstance(annotation, Unresolved) or annotation in UNSAID:
        return {"2XX": {"description": "Not described: the handler does not say what it returns."}}
    found: dict[str, list[Content]] = {}
    for part in parts(annotation):
        for code, contents in _answers(part, endpoint, str(endpoint.status_code)):
            found.setdefault(code, []).extend(contents)
    return {code: _response(code, contents, schemas) for code, contents in sorted(found.items())} or {
        "default": {"description": "Errors only: the handler never returns."}
    }


def _answers(part: Annotation, endpoint: Endpoint, status: str) -> list[tuple[str, list[Content]]]:
    cls: Annotation = get_origin(part) or part
    if cls in (Never, NoReturn):
        return []
    if part is type(None):
        return [("204" if status == "200" else status, [])]
    if part in UNSAID:
        return [("2XX", [])]
    if isinstance(cls, type):
        if issubclass(cls, Response):
            return _of_response(cls, part)
        always = endpoint.streaming or endpoint.kind is Kind.GENERATOR
        if issubclass(cls, _ITERATORS) or (always and issubclass(cls, collections.abc.Iterable)):
            return [(status, _of_items(part, cls))]
        if issubclass(cls, str):
            return [(status, [Content(_bare(TEXT_TYPE), part)])]
        if issubclass(cls, BYTES_LIKE):
            return [(status, [Content(BYTES_TYPE)])]
    return [(status, [Content(JSON_TYPE, part)])]


def _of_response(cls: type[Response], part: Annotation) -> list[tuple[str, list[Content]]]:
    """What a class of responses answers: an instance may have any status, this is what it has unless given another."""
    if issubclass(cls, RedirectResponse):
        return [("3XX", [])]
    if issubclass(cls, (FileResponse, RangeResponse)):
        return [(code, [Content(cls.media_type or "*/*")]) for code in ("200", "206")] + [("304", []), ("416", [])]
    items: Annotation = next(iter(get_args(part)), UNSAID[0])
    if cls.media_type is not None:
        kind = _bare(cls.media_type)
        return [("200", [Content(kind, items, is_stream=kind in _SEQUENTIAL)])]
    if items is not UNSAID[0]:  # StreamingResponse[...]
        return [("200", _of_items(part, cls))]
    return [("default", [])]


def _of_items(part: Annotation, cls: type) -> list[Content]:
    """The content of a stream, by its items: the first of them decides the media type."""
    if issubclass(cls, trio.abc.ReceiveStream):
        return [Content(BYTES_TYPE)]
    items = parts(next(iter(get_args(part)), UNSAID[0]))
    if any(item in UNSAID for item in items):
        return []
    found: dict[str, list[Annotation]] = {}
    for item in items:
        kind = get_origin(item) or item
        of_class = (each for each in _CHUNKS if isinstance(kind, type) and issubclass(kind, each))
        found.setdefault(_CHUNKS[next(of_class, object)], []).append(item)
    contents = []
    for media_type, members in found.items():
        if media_type == BYTES_TYPE:
            contents.append(Content(media_type))
        else:
            # Text has no items: where one chunk ends and the next begins means nothing.
            contents.append(Content(media_type, union_of(members), is_stream=media_type != _bare(TEXT_TYPE)))
    return contents


_CHUNKS: Final[Mapping[type, str]] = {
    str: "text/plain", ServerSentEvent: EVENTS_TYPE, **dict.fromkeys(BYTES_LIKE, BYTES_TYPE), object: JSON_LINES_TYPE,
}  # fmt: skip
"""The media type of a stream by the class of its first chunk."""


def _bare(media_type: str) -> str:
    return media_type.partition(";")[0].strip()


def _response(code: str, contents: list[Content], schemas: Schemas) -> Schema:
    response: Schema = {"description": _DESCRIPTIONS.get(code) or phrase_of(int(code))}
    if code == "3XX":
        response["headers"] = {"location": {"required": True, "schema": {"type": "string", "format": "uri-reference"}}}
    merged: dict[tuple[str, bool], list[Annotation]] = {}
    for content in contents:
        merged.setdefault((content.media_type, content.is_stream), []).append(content.of)
    for (media_type, is_stream), types in merged.items():
        kind: Schema = response.setdefault("content", {}).setdefault(media_type, {})
        if UNSAID[0] in types:
            continue
        schema = (
            _of_events(types, schemas) if media_type == EVENTS_TYPE else schemas.of(union_of(types), "serialization")
        )
        kind["itemSchema" if is_stream else "schema"] = schema
    return response


def _of_events(types: list[Annotation], schemas: Schemas) -> Schema:
    """The schema of an event: what is no text is JSON within its data (section 4.14.4 of the specification)."""
    items = [part for each in types for part in parts(each)]
    data: Schema = {"type": "string"}
    values = [item for item in items if item not in (str, ServerSentEvent, *UNSAID)]
    if values and len(values) == len(items):
        data.update(contentMediaType=JSON_TYPE, contentSchema=schemas.of(union_of(values), "serialization"))
    elif values:
        json = {
            "type": "string",
            "contentMediaType": JSON_TYPE,
            "contentSchema": schemas.of(union_of(values), "serialization"),
        }
        data = {"anyOf": [json, data]}
    event: Schema = {
        "type": "object",
        "properties": {
            "data": data,
            "event": {"type": "string"},
            "id": {"type": "string"},
            "retry": {"type": "integer", "minimum": 0},
        },
    }
    if ServerSentEvent not in items:
        event["required"] = ["data"]
    return event
