"""Markers in annotations that name the source of a parameter: ``Annotated[str, Header("x-token")]``.

The class and an instance mean the same: ``Annotated[int, Query]`` and ``Annotated[int, Query()]``. Constraints are
separate metadata: ``Annotated[int, Query, msgspec.Meta(ge=1, le=100)]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Union, get_args, get_origin

import msgspec

from trioweb.ground.annotations import Annotation, is_foreign, is_union, means_nothing, members_of, parts_of
from trioweb.ground.http.headers import is_token


class _Named(msgspec.Struct, frozen=True):
    alias: str | None = None


class Query(_Named, frozen=True):
    """From the query string: the default for plain values.

    A ``Struct``, a dataclass or a ``TypedDict`` takes all its fields.

    Attributes:
        alias: the name in the query string; the parameter's own unless given.
    """


class Header(_Named, frozen=True):
    """From a header.

    Attributes:
        alias: the header's name; the parameter's own with hyphens for underscores unless given.
    """


class Cookie(_Named, frozen=True):
    """From a cookie.

    Attributes:
        alias: the cookie's name; the parameter's own unless given.
    """


class Body(msgspec.Struct, frozen=True):
    """The whole body, decoded by its content type: JSON or a form. ``bytes`` is the body unchanged.

    A ``Struct``, a dataclass, a ``TypedDict``, a ``dict`` and a list of them need no marker. Without ``media_type`` a
    page of another site can make a browser send a form to the route, with the user's cookies and without a preflight
    request (a "simple" request of the Fetch standard): ``Annotated[Item, Body("application/json")]`` refuses forms.

    Attributes:
        media_type: the only accepted content type, any other is a 415: a JSON type such as ``"application/json"`` or
            a form type; for ``bytes`` any type, for ``str`` any text type.
    """

    media_type: str | None = None


class Form(_Named, frozen=True):
    """From a field of a form, multipart or URL-encoded.

    A ``Struct``, a dataclass or a ``TypedDict`` takes all of the form as its fields.

    Attributes:
        alias: the field's name; the parameter's own unless given.
    """


class File(_Named, frozen=True):
    """A file in a form. ``UploadFile`` and ``list[UploadFile]`` need no marker; ``bytes`` reads it into memory.

    Attributes:
        alias: the field's name; the parameter's own unless given.
    """


class Provide(msgspec.Struct, frozen=True):
    """From a function that is called for the request: a dependency.

    It has the parameters of a handler, dependencies too, and is called once a request, before the body is read. A
    generator function provides what it yields, and is resumed after the response, its stream and the tasks in the
    request's nursery have ended, in reverse order. An error or cancellation that ends the request is raised at its
    ``yield``; catching it there does not stop it. A plain ``def`` runs in a worker thread, with or without a ``yield``;
    what follows a ``yield`` may run in another thread, and a cancellation waits for it.

    Attributes:
        function: an ``async def`` or a ``def``, with or without a ``yield``, or one with ``@asynccontextmanager`` or
            ``@contextmanager``.
    """

    function: Callable[..., object]


MARKERS = (Query, Header, Cookie, Body, Form, File, Provide)
Marker = Query | Header | Cookie | Body | Form | File | Provide


def marker_of(annotation: Annotation) -> tuple[Annotation, Marker | None]:
    """Split a resolved annotation into the type and the marker.

    Raises:
        ValueError: if there are several markers, or one is invalid.
    """
    base, found = _split(annotation)
    if len(found) > 1:
        raise ValueError("one of Query, Header, Cookie, Body, Form, File and Provide is enough")
    return base, found[0] if found else None


def marker_name(note: object) -> str:
    """The name of a marker, given as an instance or its class; ``""`` for any other object."""
    cls = note if isinstance(note, type) else type(note)
    return cls.__name__ if issubclass(cls, MARKERS) else ""


def check_notes(annotation: Annotation) -> None:
    """Check that all metadata in the annotation of an input has an effect.

    Raises:
        ValueError: if a marker is within a type, or metadata means nothing to trioweb.
    """
    own = [note for member in members_of(annotation) for note in getattr(member, "__metadata__", ())]
    for part in parts_of(annotation):
        origin: Annotation = get_origin(part)
        notes = part.__metadata__ if origin is Annotated else ()
        for name in filter(None, map(marker_name, (part, *notes))):
            raise ValueError(f"{name} stands within a type: write Annotated[the whole type, {name}]")
        for note in notes:
            known = isinstance(note, msgspec.Meta) or is_foreign(note)  # `values.type_of` knows who checks the latter
            if not known and any(note is each for each in own):
                raise ValueError(means_nothing(note))


def _split(annotation: Annotation) -> tuple[Annotation, list[Marker]]:
    """An annotation without markers and documentation; and the markers."""
    origin: Annotation = get_origin(annotation)
    if origin is Annotated:
        base, found = _split(annotation.__origin__)
        for note in annotation.__metadata__:
            if marker_name(note):
                found.append(_made(note))
            elif not (isinstance(note, str) or type(note).__name__ == "Doc"):
                base = Annotated[base, note]
        return base, found
    if is_union(annotation):
        members = [_split(member) for member in get_args(annotation)]
        return Union[tuple(base for base, _ in members)], [note for _, found in members for note in found]  # noqa: UP007
    return annotation, []


def _made(note: Annotation) -> Marker:
    """The instance of a marker that is given as an instance or its class."""
    if note is Provide:
        raise ValueError("Provide takes the function that is called: write Provide(function)")
    marker: Marker = note() if isinstance(note, type) else note
    said = getattr(marker, "alias", getattr(marker, "media_type", None))
    if said is not None and not (isinstance(said, str) and (is_token(said) or not isinstance(marker, Header)) and said):
        raise ValueError(f"nothing has the name in {marker!r}: write {type(marker).__name__} without one, or another")
    return marker


def misplaced_default(given: object) -> str:
    """The metadata to write instead of a default that belongs in the annotation; ``""`` for other defaults."""
    if name := marker_name(given):
        return f"{name}(...)"
    return "msgspec.Meta(...) or Provide(function)" if is_foreign(given) or isinstance(given, msgspec.Meta) else ""
