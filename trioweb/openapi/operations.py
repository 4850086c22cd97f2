"""One operation of the document: a route's handler for a method."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Final

from trioweb.ground.chunks import JSON_TYPE
from trioweb.ground.errors import phrase_of
from trioweb.ground.problems import PROBLEM_TYPE
from trioweb.ground.templates import Converter
from trioweb.handlers.endpoint import Planned
from trioweb.handlers.route import Route
from trioweb.handlers.signatures import innermost
from trioweb.openapi.answers import answers_of
from trioweb.openapi.schemas import REFERENCE, Schema, Schemas
from trioweb.openapi.security import security_of
from trioweb.openapi.takes import Takes

_SECTIONS: Final = re.compile(r"^\s*(?:Args|Arguments|Parameters|Attributes|Returns|Yields|Raises|Examples?)\b.*:\s*$")
"""Begins the part of a docstring that is for readers of the code."""
PROBLEMS: Final = {
    400: ("BadRequest", "The request cannot be parsed."),
    401: ("Unauthorized", "The credentials are missing or wrong."),
    404: ("NotFound", "Nothing is here."),
    408: ("RequestTimeout", "The body did not come in time."),
    413: ("ContentTooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body has a content type that is not taken."),
    422: ("UnprocessableContent", "Inputs do not fit: `errors` names each."),
}
"""The errors that the framework answers: the name and the description of each response."""
_BODY_ERRORS: Final = {
    "form": (400, 408, 413, 415),
    "body": (400, 408, 413, 415),
    "kind": (408, 413, 415),
    "bytes": (408, 413),
}
"""The errors of reading a body."""


class Writer:
    """Writes the operations of a document.

    Attributes:
        schemas: where types are collected.
        schemes: the security schemes that were named so far.
        problems: the statuses that are answered with a problem document of the framework's.
        describes_problems: there is one of a route's own, too.
    """

    def __init__(self) -> None:
        self.schemas = Schemas()
        self.schemes: dict[str, Schema] = {}
        self.problems: set[int] = set()
        self.describes_problems = False
        self.problem: Schema = {}  # a reference to the schema of a problem document, when that has a name

    def finish(self, problem: Schema) -> Schema:
        """The schemas of all types, and that of a problem document if one is described."""
        self.schemas.finish()
        schemas = dict(self.schemas.components)
        name = "Problem"
        while name in schemas:  # a type of the user's
            name += "_"
        self.problem["$ref"] = REFERENCE + name
        return {**schemas, name: problem} if self.problems or self.describes_problems else schemas

    def operation(self, planned: Planned, identifier: str, path: Mapping[str, tuple[str, Converter]]) -> Schema:
        """Write an operation.

        Args:
            planned: the route.
            identifier: the operation's id.
            path: the parameters of the path by their names in the document, with their own names.

        Raises:
            ValueError: if two dependencies call different security schemes by the same name, or the status of one of
                the responses that were given is none.
        """
        route, template, endpoint = planned
        plan, options = endpoint.arguments, route.options
        takes = Takes(plan, path, self.schemas)
        operation: Schema = {"operationId": identifier, **_said(route)}
        if tags := options.get("tags"):
            operation["tags"] = list(tags)
        if options.get("deprecated"):
            operation["deprecated"] = True
        operation["parameters"] = takes.parameters()
        self.schemas.then(lambda: None if operation["parameters"] else operation.pop("parameters"))
        if (body := takes.body()) is not None:
            operation["requestBody"] = body
        responses = answers_of(endpoint, self.schemas)
        ways, schemes = security_of(plan)
        if schemes:
            operation["security"] = ways
            self.schemes.update(schemes)
        wrong = {401} if schemes else set[int]()
        for code in sorted(wrong | set(_errors(takes, template.parameters))):
            responses.setdefault(str(code), self._problem(code))
        for given, said in options.get("responses", {}).items():
            responses[_status(route, given)] = self._given(str(given), said)
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _problem(self, code: int) -> Schema:
        self.problems.add(code)
        return {"$ref": f"#/components/responses/{PROBLEMS[code][0]}"}

    def _given(self, code: str, said: object) -> Schema:
        """A response that the route was given: a sentence, a type, or a Response Object, which may have a ``model``."""
        phrase = phrase_of(int(code)) if code.isdecimal() else "Another response"
        if isinstance(said, str):
            if code[:1] not in {"4", "5"}:
                return {"description": said}
            self.describes_problems = True
            return {"description": said, "content": {PROBLEM_TYPE: {"schema": self.problem}}}
        if not isinstance(said, Mapping):
            return {"description": phrase, "content": {JSON_TYPE: {"schema": self.schemas.of(said, "serialization")}}}
        response = {"description": phrase, **said}
        if (model := response.pop("model", None)) is not None:
            response["content"] = {
                **response.get("content", {}),
                JSON_TYPE: {"schema": self.schemas.of(model, "serialization")},
            }
        return response


def _errors(takes: Takes, path: Mapping[str, Converter]) -> Iterator[int]:
    """The errors that are answered before the handler is called."""
    if path:
        yield 404
    for where in takes.reads():
        yield from _BODY_ERRORS.get(where, (400,) if where == "query" else ())
    if takes.may_fail():
        yield 422


def _status(route: Route, code: object) -> str:
    text = str(code)
    if text != "default" and not re.fullmatch(r"[1-5](?:\d\d|XX)", text):
        raise ValueError(f'{route.where}: responses has {code!r}: write a status such as 404, "4XX" or "default"')
    return text


def _said(route: Route) -> Schema:
    """Its summary and description: given, or those of the docstring, whose sections are for readers of the code."""
    lines = inspect.cleandoc(innermost(route.handler).__doc__ or "").split("\n")
    end = next((number for number, line in enumerate(lines) if _SECTIONS.match(line)), len(lines))
    first, _, rest = "\n".join(lines[:end]).strip().partition("\n\n")
    said = {
        "summary": route.options.get("summary", " ".join(first.split())),
        "description": route.options.get("description", rest.strip()),
    }
    return {name: text for name, text in said.items() if text}
