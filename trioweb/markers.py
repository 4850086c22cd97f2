"""Where a parameter of a handler comes from, said in its annotation: ``Annotated[str, Header("x-token")]``.

Each may be given as it is or called: ``Annotated[int, Query]`` and ``Annotated[int, Query()]`` are the same.
Constraints stand beside it: ``Annotated[int, Query, msgspec.Meta(ge=1, le=100)]``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Query:
    """From the query string, which is also where a plain value without a marker comes from.

    A ``Struct``, a dataclass or a ``TypedDict`` takes all of it as its fields.

    Attributes:
        alias: the name in the query string; the parameter's own unless given.
    """

    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """From a header.

    Attributes:
        alias: the header's name; the parameter's own with hyphens for underscores unless given.
    """

    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Cookie:
    """From a cookie.

    Attributes:
        alias: the cookie's name; the parameter's own unless given.
    """

    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """The whole body: JSON, or a form's fields, by its content type. ``bytes`` is the body as it came.

    A ``Struct``, a dataclass, a ``TypedDict``, a ``dict`` and a list of such need no marker.
    """


@dataclass(frozen=True, slots=True)
class Form:
    """From a field of a form, multipart or URL-encoded.

    A ``Struct``, a dataclass or a ``TypedDict`` takes all of the form as its fields.

    Attributes:
        alias: the field's name; the parameter's own unless given.
    """

    alias: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file in a form. ``UploadFile`` and ``list[UploadFile]`` need no marker; ``bytes`` takes it into memory.

    Attributes:
        alias: the field's name; the parameter's own unless given.
    """

    alias: str | None = None


@dataclass(frozen=True, slots=True)
class Provide:
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
