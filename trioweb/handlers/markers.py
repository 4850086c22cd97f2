"""Where a parameter of a handler comes from, said in its annotation: ``Annotated[str, Header("x-token")]``.

Each may be given as it is or called: ``Annotated[int, Query]`` and ``Annotated[int, Query()]`` are the same.
Constraints stand beside it: ``Annotated[int, Query, msgspec.Meta(ge=1, le=100)]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from trioweb.ground.annotations import Annotation, is_union, means_nothing, members_of, parts_of
from trioweb.ground.http.headers import is_token


class Query(msgspec.Struct, frozen=True):
    """From the query string, which is also where a plain value without a marker comes from.

    A ``Struct``, a dataclass or a ``TypedDict`` takes all of it as its fields.

    Attributes:
        alias: the name in the query string; the parameter's own unless given.
    """

    alias: str | None = None


class Header(msgspec.Struct, frozen=True):
    """From a header.

    Attributes:
        alias: the header's name; the parameter's own with hyphens for underscores unless given.
    """

    alias: str | None = None


class Cookie(msgspec.Struct, frozen=True):
    """From a cookie.

    Attributes:
        alias: the cookie's name; the parameter's own unless given.
    """

    alias: str | None = None


class Body(msgspec.Struct, frozen=True):
    """The whole body: JSON, or a form's fields, by its content type. ``bytes`` is the body as it came.

    A ``Struct``, a dataclass, a ``TypedDict``, a ``dict`` and a list of such need no marker. Without ``media_type`` a
    page of another site can have a browser send a form to the route, cookies and all, and nobody asks first (a "simple"
    request of the Fetch standard): ``Annotated[Item, Body("application/json")]`` refuses forms.

    Attributes:
        media_type: the only content type that is taken, any other is a 415: ``"application/json"`` or another of
            JSON's, a form's; for ``bytes`` any, for ``str`` any that is text.
    """

    media_type: str | None = None


class Form(msgspec.Struct, frozen=True):
    """From a field of a form, multipart or URL-encoded.

    A ``Struct``, a dataclass or a ``TypedDict`` takes all of the form as its fields.

    Attributes:
        alias: the field's name; the parameter's own unless given.
    """

    alias: str | None = None


class File(msgspec.Struct, frozen=True):
    """A file in a form. ``UploadFile`` and ``list[UploadFile]`` need no marker; ``bytes`` takes it into memory.

    Attributes:
        alias: the field's name; the parameter's own unless given.
    """

    alias: str | None = None


class Provide(msgspec.Struct, frozen=True):
    """From a function that is called for the request: a dependency.

    It takes what a handler may take, dependencies too, and is called once a request, however many ask for it, before
    the body is read. An async generator function gives what it yields, and goes on after the response has been sent
    and its stream has ended; the last is closed first. What ends the request is raised at its ``yield``, an error or a
    cancellation: to catch it there does not undo it. A plain ``def`` runs in a worker thread.

    Attributes:
        function: an ``async def``, an async generator function or one with ``@asynccontextmanager``, or a ``def``.
    """

    function: Callable[..., Any]


MARKERS = (Query, Header, Cookie, Body, Form, File, Provide)
Marker = Query | Header | Cookie | Body | Form | File | Provide


def marker_of(annotation: Any) -> tuple[Any, Marker | None]:
    """A resolved annotation without our marker, and that.

    Raises:
        ValueError: if there are several.
    """
    base, found = _split(annotation)
    if len(found) > 1:
        raise ValueError("one of Query, Header, Cookie, Body, Form, File and Provide is enough")
    return base, found[0] if found else None


def check_notes(annotation: Any) -> None:
    """See that all that is noted in the annotation of an input is looked at by somebody.

    Raises:
        ValueError: if a marker stands within a type, or if a note means nothing here.
    """
    own = [note for member in members_of(annotation) for note in getattr(member, "__metadata__", ())]
    for part in parts_of(annotation):
        if _is_marker(part):
            raise _misplaced(part)
        origin: Annotation = get_origin(part)
        for note in part.__metadata__ if origin is Annotated else ():
            if _is_marker(note):
                raise _misplaced(note)
            if not isinstance(note, msgspec.Meta) and any(note is each for each in own):
                raise ValueError(means_nothing(note))


def _misplaced(marker: Any) -> ValueError:
    name = marker.__name__ if isinstance(marker, type) else type(marker).__name__
    return ValueError(f"{name} stands within a type: write Annotated[the whole type, {name}]")


def _split(annotation: Any) -> tuple[Any, list[Marker]]:
    """An annotation without our markers and without documentation; and the markers."""
    if get_origin(annotation) is Annotated:
        base, found = _split(annotation.__origin__)
        for note in annotation.__metadata__:
            if _is_marker(note):
                found.append(_made(note))
            elif not (isinstance(note, str) or type(note).__name__ == "Doc"):
                base = Annotated[base, note]
        return base, found
    if is_union(annotation):
        members = [_split(member) for member in get_args(annotation)]
        return Union[tuple(base for base, _ in members)], [note for _, found in members for note in found]  # noqa: UP007
    return annotation, []


def _made(note: Any) -> Marker:
    """A marker, from itself or its class."""
    if note is Provide:
        raise ValueError("Provide takes the function that is called: write Provide(function)")
    marker: Marker = note() if isinstance(note, type) else note
    said = getattr(marker, "alias", getattr(marker, "media_type", None))
    if said is not None and not (isinstance(said, str) and (is_token(said) or not isinstance(marker, Header)) and said):
        raise ValueError(f"nothing has the name in {marker!r}: write {type(marker).__name__} without one, or another")
    return marker


def _is_marker(note: Any) -> bool:
    return isinstance(note, MARKERS) or (isinstance(note, type) and issubclass(note, MARKERS))
