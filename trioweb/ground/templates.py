"""Path templates such as ``/users/{id:int}/files/{rest:path}``: matching a path, and making one.

A template is cut at its slashes. A segment is plain text, or a pattern with parameters; a ``path`` parameter may hold
slashes, so from its segment on the template is one pattern. Everything here works on decoded text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from trioweb.ground.errors import RouteError

_PARAMETER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


@dataclass(frozen=True, slots=True)
class Converter:
    """How a path parameter is recognised, read, and written.

    Attributes:
        name: what stands behind the colon in a template.
        regex: what it matches, within one segment.
        parse: text to value; a ``ValueError`` means that the path does not match, a 404.
        format: value to text.
        rank: where two patterns fit the same segment, the lower one is tried first.
    """

    name: str
    regex: str
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    rank: int = 1


_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"

CONVERTERS: Final[Mapping[str, Converter]] = {
    converter.name: converter
    for converter in (
        Converter("int", r"[0-9]+", int, lambda value: str(int(value)), rank=0),
        Converter("uuid", _UUID, UUID, str, rank=0),
        Converter("float", r"[0-9]+(?:\.[0-9]+)?", float, lambda value: format(float(value), "f"), rank=1),
        Converter("str", r"[^/]+", str, str, rank=3),
        Converter("path", r".*", str, str, rank=4),
    )
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A part of a template that has parameters.

    Attributes:
        shape: the same for two patterns that match the same texts: the source without the parameters' names.
        regex: the whole of it, a group for each parameter.
        parameters: name and converter, in order.
        rank: the worst of its converters, then the more plain text the better.
    """

    shape: str
    regex: re.Pattern[str]
    parameters: tuple[tuple[str, Converter], ...]
    rank: tuple[int, int]

    def match(self, text: str) -> tuple[Any, ...] | None:
        """The parameters' values in order, or ``None`` where the text does not fit."""
        found = self.regex.fullmatch(text)
        if found is None:
            return None
        try:
            return tuple(converter.parse(found[f"_{index}"]) for index, (_, converter) in enumerate(self.parameters))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed path template.

    Attributes:
        source: as the user wrote it, prefixes included.
        segments: plain text or a pattern, one for each segment.
        tail: the pattern for all that follows them, where a ``path`` parameter stands in it.
    """

    source: str
    segments: tuple[str | Pattern, ...]
    tail: Pattern | None

    @property
    def parameters(self) -> dict[str, Converter]:
        """The converter of each parameter, by name."""
        patterns = [part for part in (*self.segments, self.tail) if isinstance(part, Pattern)]
        return {name: converter for pattern in patterns for name, converter in pattern.parameters}

    def format(self, values: Mapping[str, Any]) -> str:
        """The path for these values, percent-encoded.

        Raises:
            ValueError: a value would make a path that this template does not match.
        """
        converters = self.parameters

        def replace(found: re.Match[str]) -> str:
            name = found[1]
            converter = converters[name]
            text = converter.format(values[name])
            if not re.fullmatch(converter.regex, text, re.DOTALL):
                raise ValueError(f"{text!r} for {{{name}}} is not a {converter.name} that {self.source!r} would match")
            return quote(text, safe="/" if converter.name == "path" else "")

        cut = re.split(r"(\{[^{}]*\})", self.source)
        return "".join(_PARAMETER.sub(replace, part) if part[:1] == "{" else quote(part) for part in cut)


def parse_template(source: str, converters: Mapping[str, Converter] | None) -> Template:
    """Parse a path template.

    Args:
        source: the template.
        converters: those that it may name; ``None`` to check all but their names, which come later.

    Raises:
        RouteError: it is not a template; the message says why and what to write.
    """
    if not source.startswith("/"):
        raise RouteError(f'the path {source!r} must start with "/": write {"/" + source!r}')
    names = check_names(source)
    if converters is None:
        converters = _Unresolved()
    for name, kind in names:
        if kind not in converters:
            known = ", ".join(sorted(converters))
            raise RouteError(
                f"{source!r}: there is no converter {kind!r} for {{{name}}}; there are {known}, "
                f"and app.add_converter({kind!r}, regex, parse, format) adds one"
            )
    pieces = source[1:].split("/")
    segments: list[str | Pattern] = []
    for index, piece in enumerate(pieces):
        if "{" not in piece:
            segments.append(piece)
        elif any((found[2] or "str") == "path" for found in _PARAMETER.finditer(piece)):
            return Template(source, tuple(segments), _pattern("/".join(pieces[index:]), converters))
        else:
            segments.append(_pattern(piece, converters))
    return Template(source, tuple(segments), None)


class _Unresolved(dict[str, Converter]):
    """Stands for converters that are not known yet: every name is taken for ``str``'s."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Converter:
        return CONVERTERS["str"]


def check_names(source: str) -> list[tuple[str, str]]:
    """The parameters of a template as (name, converter's name).

    Raises:
        RouteError: braces do not pair up, or a name is no identifier or stands twice.
    """
    rest = _PARAMETER.sub("", source)
    if "{" in rest or "}" in rest:
        raise RouteError(f"{source!r}: its braces do not pair up: write {{name}} or {{name:converter}}")
    names = [(found[1], found[2] or "str") for found in _PARAMETER.finditer(source)]
    seen: set[str] = set()
    for name, _ in names:
        if not name.isidentifier():
            raise RouteError(f"{source!r}: {{{name}}} is not a parameter name: use a Python identifier")
        if name in seen:
            raise RouteError(f"{source!r}: the parameter {{{name}}} stands twice: give each its own name")
        seen.add(name)
    return names


def _pattern(source: str, converters: Mapping[str, Converter]) -> Pattern:
    regex, shape, plain = "", "", 0
    parameters: list[tuple[str, Converter]] = []
    position = 0
    for found in _PARAMETER.finditer(source):
        text = source[position : found.start()]
        converter = converters[found[2] or "str"]
        # A name of our own: templates that differ in their parameters' names only share a pattern, and a user's
        # regex may have groups.
        regex += f"{re.escape(text)}(?P<_{len(parameters)}>{converter.regex})"
        shape += f"{text}{{{converter.name}}}"
        plain += len(text)
        parameters.append((found[1], converter))
        position = found.end()
    rest = source[position:]
    try:
        compiled = re.compile(regex + re.escape(rest), re.DOTALL)
    except re.error as error:
        raise RouteError(f"{source!r}: the regex of a converter does not compile: {error}") from error
    rank = (max(converter.rank for _, converter in parameters), -plain - len(rest))
    return Pattern(shape + rest, compiled, tuple(parameters), rank)
