"""Path templates such as ``/users/{id:int}/files/{rest:path}``: match a path, and format one.

A template is split at its slashes. A segment is plain text, or a pattern with parameters; a ``path`` parameter may
contain slashes, so from its segment on the template is one pattern. Everything here works on decoded text.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final
from urllib.parse import quote
from uuid import UUID

import msgspec

from trioweb.ground.errors import RouteError
from trioweb.ground.http.asgi import PathParams

MATCH_STEPS: Final = 4_000_000
"""Steps that a regular expression may take on one text, some 2 ns each.

With k parameters in a segment it takes n ** k steps for n characters: so two parameters are tried on at most 2,000
characters, three on at most 158. If all are ``str``, as in ``{name}.{ending}``, no regular expression is used, and a
text may have any length.
"""

_PARAMETER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


class Converter(msgspec.Struct, frozen=True):
    """How a path parameter is matched, parsed and formatted.

    Attributes:
        name: its name in templates, after the colon.
        regex: matches its text, within one segment.
        parse: text to value; a ``ValueError`` means that the path does not match, a 404.
        format: value to text.
        rank: of two patterns that match a segment, the one of lower rank is tried first.
    """

    name: str
    regex: str
    parse: Callable[[str], object]
    format: Callable[..., str]
    rank: int = 1


_ANY_TEXT: Final = "[^/]+"
_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"


def _parse_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number beyond the range of float")
    return value


def _format_float(value: str | float) -> str:
    return format(Decimal(repr(float(value))), "f")  # without an exponent, which the regex does not match


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
        shape: the source without the names of the parameters: equal for patterns that match the same texts.
        regex: matches the whole text, with a group for each parameter.
        parameters: names and converters, in order.
        plain: the plain texts before, between and after the parameters.
        rank: the highest rank of the converters, then fewer plain characters.
        longest: the most characters of a text that the regular expression is tried on; 0 if none is needed.
    """

    shape: str
    regex: re.Pattern[str]
    parameters: tuple[tuple[str, Converter], ...]
    plain: tuple[str, ...]
    rank: tuple[int, int]
    longest: int

    def split(self, text: str) -> tuple[str, ...] | None:
        """The texts of the parameters in order, or ``None`` if the text does not match."""
        if not self.longest:
            return self._split_at_plain(text)
        found = self.regex.fullmatch(text) if len(text) <= self.longest else None
        return None if found is None else tuple(found[f"_{index}"] for index in range(len(self.parameters)))

    def _split_at_plain(self, text: str) -> tuple[str, ...] | None:
        """``split`` where each parameter matches any text, in linear time.

        It works from right to left: so the first parameters get the most text, as with a greedy regular expression.
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

    def match(self, text: str) -> tuple[object, ...] | None:
        """The values of the parameters in order, or ``None`` if the text does not match."""
        texts = self.split(text)
        if texts is None:
            return None
        try:
            return tuple(converter.parse(part) for (_, converter), part in zip(self.parameters, texts, strict=True))
        except ValueError:
            return None

    def join(self, texts: tuple[str, ...]) -> str:
        """The text with the parameters replaced by these texts."""
        return "".join(plain + part for plain, part in zip(self.plain, (*texts, ""), strict=True))


class Template(msgspec.Struct, frozen=True):
    """A parsed path template.

    Attributes:
        source: the template as the user wrote it, with the prefixes of routers.
        segments: plain text or a pattern, one for each segment.
        tail: the pattern for the rest, from the segment of a ``path`` parameter on.
    """

    source: str
    segments: tuple[str | Pattern, ...]
    tail: Pattern | None

    @property
    def parameters(self) -> dict[str, Converter]:
        """The converter of each parameter, by name."""
        patterns = [part for part in (*self.segments, self.tail) if isinstance(part, Pattern)]
        return {name: converter for pattern in patterns for name, converter in pattern.parameters}

    def format(self, values: PathParams) -> str:
        """The path with these values, percent-encoded.

        Raises:
            ValueError: if the template would not match the path.
        """
        parts = [self._fill(part, values) for part in self.segments]
        if self.tail is not None:
            parts.append(self._fill(self.tail, values))
        return "/" + "/".join(parts)

    def _fill(self, part: str | Pattern, values: PathParams) -> str:
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

    def _text(self, name: str, converter: Converter, value: object) -> str:
        try:
            return converter.format(value)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"{value!r} is not for {{{name}}} of {self.source!r}: {error}") from error


def without_converters(source: str) -> str:
    """A path template with the names of its parameters only: ``/users/{id}`` for ``/users/{id:int}``."""
    return _PARAMETER.sub(r"{\1}", source)


def parse_template(source: str, converters: Mapping[str, Converter] | None) -> Template:
    """Parse a path template.

    Args:
        source: the template.
        converters: the converters by name; ``None`` to check everything else, since they are not known yet.

    Raises:
        RouteError: if it is not a template; the message says why and what to write.
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
    """Has a converter of every name, which matches as that of ``str`` does."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Converter:
        return msgspec.structs.replace(CONVERTERS["str"], name=name)


def check_names(source: str) -> list[tuple[str, str]]:
    """The names of a template's parameters and converters.

    Raises:
        RouteError: if the braces do not pair up, or a name is not an identifier or is repeated.
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
        # Numbered group names: templates that differ only in parameter names share a pattern, and a user's regex may
        # have groups of its own.
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
