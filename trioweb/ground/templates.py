"""Path templates such as ``/users/{id:int}/files/{rest:path}``: matching a path, and making one.

A template is cut at its slashes. A segment is plain text, or a pattern with parameters; a ``path`` parameter may hold
slashes, so from its segment on the template is one pattern. Everything here works on decoded text.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec

from trioweb.ground.errors import RouteError

MATCH_STEPS: Final = 4_000_000
"""Steps that a regular expression may take on one text, some 2 ns each.

With k parameters it takes n ** k on n characters: two of them see up to 2,000 characters, three up to 158. Where all
are ``str``, as in ``{name}.{ending}``, none is needed, and a text may have any length.
"""

_PARAMETER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


class Converter(msgspec.Struct, frozen=True):
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


_ANY_TEXT: Final = "[^/]+"
_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"


def _parse_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number beyond the range of float")
    return value


def _format_float(value: Any) -> str:
    return format(Decimal(repr(float(value))), "f")  # all digits, and no exponent, which the regex does not have


CONVERTERS: Final[Mapping[str, Converter]] = {
    converter.name: converter
    for converter in (
        Converter("int", r"[0-9]+", int, lambda value: str(int(value)), rank=0),
        Converter("uuid", _UUID, UUID, str, rank=0),
        Converter("float", r"[0-9]+(?:\.[0-9]+)?", _parse_float, _format_float, rank=1),
        Converter("str", _ANY_TEXT, str, str, rank=3),
        Converter("path", r".*", str, str, rank=4),
    )
}


class Pattern(msgspec.Struct, frozen=True):
    """A part of a template that has parameters.

    Attributes:
        shape: the same for two patterns that match the same texts: the source without the parameters' names.
        regex: the whole of it, a group for each parameter.
        parameters: name and converter, in order.
        plain: the texts before, between and after them.
        rank: the worst of its converters, then the more plain text the better.
        longest: characters that a text may have to be tried at all; 0 where no regular expression is needed.
    """

    shape: str
    regex: re.Pattern[str]
    parameters: tuple[tuple[str, Converter], ...]
    plain: tuple[str, ...]
    rank: tuple[int, int]
    longest: int

    def split(self, text: str) -> tuple[str, ...] | None:
        """The parameters' texts in order, or ``None`` where the text does not fit."""
        if not self.longest:
            return self._split_at_plain(text)
        found = self.regex.fullmatch(text) if len(text) <= self.longest else None
        return None if found is None else tuple(found[f"_{index}"] for index in range(len(self.parameters)))

    def _split_at_plain(self, text: str) -> tuple[str, ...] | None:
        """The same where each parameter takes any text, from right to left: so the first take the most, as a regular
        expression has it, and what is between two need never be looked for twice.
        """
        first, *between, last = self.plain
        if "/" in text or not (text.startswith(first) and text.endswith(last)):
            return None
        begin, end = len(first), len(text) - len(last)
        parts: list[str] = []
        for plain in reversed(between):
            at = text.rfind(plain, begin, end - 1) if end > begin else -1
            if at == -1:
                return None
            parts.append(text[at + len(plain) : end])
            end = at
        if end <= begin:
            return None
        parts.append(text[begin:end])
        return tuple(reversed(parts))

    def match(self, text: str) -> tuple[Any, ...] | None:
        """The parameters' values in order, or ``None`` where the text does not fit."""
        texts = self.split(text)
        if texts is None:
            return None
        try:
            return tuple(converter.parse(part) for (_, converter), part in zip(self.parameters, texts, strict=True))
        except ValueError:
            return None

    def join(self, texts: tuple[str, ...]) -> str:
        """The text with these in the places of its parameters."""
        return "".join(plain + part for plain, part in zip(self.plain, (*texts, ""), strict=True))


class Template(msgspec.Struct, frozen=True):
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
        parts = [self._fill(part, values) for part in self.segments]
        if self.tail is not None:
            parts.append(self._fill(self.tail, values))
        return "/" + "/".join(parts)

    def _fill(self, part: str | Pattern, values: Mapping[str, Any]) -> str:
        if isinstance(part, str):
            return quote(part)
        texts = tuple(self._text(name, converter, values[name]) for name, converter in part.parameters)
        text = part.join(texts)
        if part.split(text) != texts or ("/" in text and part is not self.tail):
            given = ", ".join(
                f"{text!r} for {{{name}}}" for (name, _), text in zip(part.parameters, texts, strict=True)
            )
            raise ValueError(f"{given}: that makes a path that {self.source!r} would not match")
        return quote(text, safe="/" if part is self.tail else "")

    def _text(self, name: str, converter: Converter, value: Any) -> str:
        try:
            return converter.format(value)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{value!r} is not for {{{name}}} of {self.source!r}: {error}") from error


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
    """Stands for converters that are not known yet: every one matches what that of ``str`` does."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Converter:
        return msgspec.structs.replace(CONVERTERS["str"], name=name)


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
    parameters = tuple((found[1], converters[found[2] or "str"]) for found in _PARAMETER.finditer(source))
    plain = tuple(re.split(r"\{[^{}]*\}", source))
    regex, shape = re.escape(plain[0]), plain[0]
    for index, ((_, converter), text) in enumerate(zip(parameters, plain[1:], strict=True)):
        # A name of our own: templates that differ in their parameters' names only share a pattern, and a user's regex
        # may have groups.
        regex += f"(?P<_{index}>{converter.regex}){re.escape(text)}"
        shape += f"{{{converter.name}}}{text}"
    try:
        compiled = re.compile(regex, re.DOTALL)
    except re.error as error:
        raise RouteError(f"{source!r}: the regex of a converter does not compile: {error}") from error
    rank = (max(converter.rank for _, converter in parameters), -sum(map(len, plain)))
    longest = sys.maxsize if len(parameters) == 1 else int(MATCH_STEPS ** (1 / len(parameters)))
    if len(parameters) > 1 and all(converter.regex == _ANY_TEXT for _, converter in parameters):
        longest = 0
    return Pattern(shape, compiled, parameters, plain, rank, longest)
