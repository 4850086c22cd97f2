"""What a route takes, as OpenAPI writes it: parameters and the body, of its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from trioweb.ground.chunks import JSON_TYPE
from trioweb.ground.templates import Converter
from trioweb.handlers.arguments import Arguments, BodyInput
from trioweb.handlers.inputs import ABSENT, Input
from trioweb.messages.connection import FORM_TYPE, URLENCODED_TYPE
from trioweb.openapi.schemas import Schema, Schemas, plain, without_none

_FORMS: Final = (URLENCODED_TYPE, FORM_TYPE)
_OF_CONVERTERS: Final[Mapping[str, Schema]] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
    "str": {"type": "string"},
    "path": {"type": "string"},
}
_IGNORED: Final = frozenset({"accept", "authorization", "content-type"})
"""Headers that OpenAPI describes elsewhere: parameters of these names are ignored by it."""


class Takes:
    """Writes down the inputs of one route.

    Args:
        plan: the plan of its handler.
        path: the parameters of its path, by their names in the document, with their own names.
        schemas: where types are collected.
    """

    def __init__(self, plan: Arguments, path: Mapping[str, tuple[str, Converter]], schemas: Schemas) -> None:
        self._plan, self._path, self._schemas = plan, path, schemas

    def parameters(self) -> list[Schema]:
        """Its parameters: of the path, and then of query, headers and cookies, each once."""
        converted = {found.name: found for each in self._plan.everything for found in each.path}
        groups = [[self._of_path(name, own[1], converted.get(own[0]))] for name, own in self._path.items()]
        seen = set[tuple[str, str]]()
        for found in (found for each in self._plan.everything for found in each.inputs):
            place = (found.where, found.key or found.name)
            if place not in seen and not (found.where == "header" and found.key.lower() in _IGNORED):
                seen.add(place)
                groups.append(self._of_input(found))
        listed: list[Schema] = []
        self._schemas.then(lambda: listed.extend(parameter for group in groups for parameter in group))
        return listed

    def _of_path(self, name: str, converter: Converter, found: Input | None) -> Schema:
        if found is not None:
            schema = self._schemas.of(without_none(found.shape.annotation))
        else:
            schema = dict(_OF_CONVERTERS.get(converter.name) or _of_regex(converter.regex))
        parameter: Schema = {"name": name, "in": "path", "required": True, "schema": schema}
        if converter.name == "path":
            parameter["allowReserved"] = True  # it may have slashes
        self._schemas.then(lambda: _lift_description(parameter))
        return parameter

    def _of_input(self, found: Input) -> list[Schema]:
        schema = self._schemas.of(without_none(found.shape.annotation))
        group: list[Schema] = []

        def write() -> None:
            if found.key or found.shape.fields is None:
                # Of a dict each item is a parameter: in OpenAPI that is one parameter, which is "exploded".
                fields, required = {found.key or found.name: schema}, {found.key} if found.required else set()
                _set_default(schema, found.default)
            else:
                described = self._schemas.resolve(schema)
                fields = {name: dict(field) for name, field in described.get("properties", {}).items()}
                required = {*described.get("required", ())} if found.required else set()
            for name, field in fields.items():
                group.append({"name": name, "in": found.where, "required": name in required, "schema": field})
                _lift_description(group[-1])

        self._schemas.then(write)
        return group

    def body(self) -> Schema | None:
        """The body that it takes, or ``None``."""
        whole = next((each.body for each in self._plan.everything if each.body is not None), None)
        if whole is not None:
            return {"required": whole.found.required, "content": self._content(whole)}
        form = [found for each in self._plan.everything for found in each.form]
        if not form:
            return None
        required = any(found.required for found in form)
        kinds = (FORM_TYPE,) if any(found.shape.is_file for found in form) else _FORMS
        schema = self._form(form)
        return {"required": required, "content": {kind: {"schema": schema} for kind in kinds}}

    def _content(self, body: BodyInput) -> Schema:
        annotation, shape = body.found.shape.annotation, body.found.shape
        if body.decode is None:
            return {body.media_type or "*/*": {"schema": {"type": "string"}} if annotation is str else {}}
        if body.media_type:
            return {body.media_type: {"schema": self._schemas.of(annotation)}}
        content: Schema = {JSON_TYPE: {"schema": self._schemas.of(annotation)}}
        parts = [*(shape.fields or {}).values(), *([shape.rest] if shape.rest else [])]
        if shape.takes_form and not any(part.is_object for part in parts):  # a form has no objects within it
            content.update({kind: {"schema": self._schemas.of(without_none(annotation))} for kind in _FORMS})
        return content

    def _form(self, form: list[Input]) -> Schema:
        if len(form) == 1 and not form[0].key:
            return self._schemas.of(without_none(form[0].shape.annotation))
        schema: Schema = {"type": "object", "properties": {}}
        fields = {
            found.key: (found, self._schemas.of(without_none(found.shape.annotation)))
            for found in sorted(form, key=lambda found: found.key)
        }

        def build() -> None:
            required = []
            for key, (found, described) in fields.items():
                if key:
                    schema["properties"][key] = described
                    _set_default(described, found.default)
                    required += [key] if found.required else []
                else:
                    whole = self._schemas.resolve(described)
                    schema["properties"].update(whole.get("properties", {}))
                    required += whole.get("required", ()) if found.required else ()
            if required:
                schema["required"] = sorted(set(required))

        self._schemas.then(build)
        return schema

    def may_fail(self) -> bool:
        """Whether there are inputs that can be invalid: any text is valid for ``str``, and what has a default is."""
        inputs = [found for each in self._plan.everything for found in (*each.path, *each.inputs, *each.form)]
        body = any(each.body is not None and each.body.decode is not None for each in self._plan.everything)
        return body or any(found.required or found.shape.annotation is not str for found in inputs)

    def reads(self) -> Iterable[str]:
        """Where its inputs come from."""
        for each in self._plan.everything:
            yield from (found.where for found in each.inputs)
            if each.form:
                yield "form"
            if each.body is not None:
                yield "body" if each.body.decode is not None else "kind" if each.body.media_type else "bytes"


def _lift_description(parameter: Schema) -> None:
    if "description" in parameter["schema"]:
        parameter["description"] = parameter["schema"].pop("description")


def _of_regex(regex: str) -> Schema:
    # A pattern of Python's is one of ECMAScript's, but for what begins with "(?".
    return {"type": "string"} if "(?" in regex else {"type": "string", "pattern": f"^(?:{regex})$"}


def _set_default(schema: Schema, default: object) -> None:
    if default is None or default is ABSENT:
        return
    try:
        schema["default"] = plain(default)
    except (TypeError, ValueError):
        return  # it has no JSON form: a value of the user's own
