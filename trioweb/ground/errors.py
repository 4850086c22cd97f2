"""Errors by whose fault they are: the handler's deliberate answer, the client, or a mistake in the user's code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import FrameType, TracebackType
from typing import Final, TypedDict

SHOWN: Final = 10
"""Inputs that do not fit which the sentence of an error names; its list names all."""
_SUSPENDS: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
"""Flags of the code of what can wait in the middle: coroutines, and generators of both kinds."""
NEEDS_TRIO: Final = (
    "trioweb runs on trio, and this server does not: run it with `hypercorn -k trio module:app`, where module is the "
    "name of your file and app the name of your App"
)


class HTTPError(Exception):
    """A handler's deliberate answer with an error status.

    Raise it anywhere before the response has started; the client gets a problem document (RFC 9457) or, in a
    browser, a page. ``@app.error_handler(status)`` or ``@app.error_handler(HTTPError)`` answers in its place.

    Args:
        status: the HTTP status code, 400 to 599.
        detail: a sentence for the client about this one occurrence; the standard phrase of the status unless given.
        headers: headers for the answer, for instance ``{"retry-after": "5"}``.

    Raises:
        TypeError: ``detail`` is no ``str``.
        ValueError: ``status`` is not an error status, or a header has a CR, LF or NUL.
    """

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError is for statuses 400 to 599, got {status!r}: return a Response instead")
        if detail is not None and not isinstance(detail, str):
            got = type(detail).__qualname__
            raise TypeError(
                f"the detail of an HTTPError is a str, got {got}: for more, return JSONResponse(..., {status})"
            )
        if headers is not None:
            if not isinstance(headers, Mapping):
                headers = list(headers)
            pairs = headers.items() if isinstance(headers, Mapping) else headers
            for text in (text for pair in pairs for text in pair):
                if any(each in text for each in "\r\n\0"):
                    raise ValueError(f"a header of an HTTPError has a CR, LF or NUL: {text!r}")
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    @property
    def status_code(self) -> int:
        """The same as ``status``, under the name that responses use."""
        return self.status

    def __str__(self) -> str:
        return f"{self.status} {self.detail or phrase_of(self.status)}"


class Fault(TypedDict):
    """One input that does not fit.

    Attributes:
        loc: where it is: ``path``, ``query``, ``header``, ``cookie``, ``form`` or ``body``, then the way to it.
        msg: what is wrong with it.
    """

    loc: list[str | int]
    msg: str


class InputError(HTTPError):
    """What a client has sent can be read, but does not fit what the handler asks for: a 422 that names each input.

    Args:
        errors: what does not fit.

    Attributes:
        errors: the same. They stand in the problem document as its member ``errors``.
    """

    def __init__(self, errors: Sequence[Fault]) -> None:
        self.errors = list(errors)
        named = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in self.errors[:SHOWN]]
        more = [f"and {len(self.errors) - SHOWN} more"] if len(self.errors) > SHOWN else []
        super().__init__(422, "The request does not fit. " + "; ".join([*named, *more]))


class ClientDisconnected(Exception):
    """The client left before its request body had arrived whole, or its response was sent. Raised in whoever reads the
    body, or sends; never logged.
    """


class BrokenOff(ClientDisconnected):
    """A mounted app has broken its response off, and logged why: which is its cause, where that is known."""


class WebSocketDisconnect(ClientDisconnected):
    """A WebSocket is closed: its peer has left, or this side has closed it. Raised in whoever receives or sends; a
    handler may let it pass, and it is never logged.

    Attributes:
        code: why, as a number (RFC 6455, section 7.4): the peer's, or that of this side's own ``close``; 1005 where the
            peer gave none, 1006 where the connection broke off, or the server does not tell.
        reason: why, in words.
    """

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the WebSocket is closed with code {self.code}" + (f": {self.reason}" if self.reason else "")


class RouteError(ValueError):
    """A mistake in how a route was registered. Its message names the route, the reason, and what to write instead."""


class StreamTimeout(Exception):
    """A stream ran into one of its own time limits and was broken off."""


class ContentLengthError(Exception):
    """A stream gave fewer or more bytes than the ``content-length`` that was declared for it."""


def phrase_of(status: int) -> str:
    """The reason phrase of a status code (RFC 9110, section 15), or a plain word for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client error" if status < 500 else "Server error"


def unwrap(error: Exception) -> Exception:
    """A group that holds one exception is that exception."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def renewed(error: HTTPError) -> HTTPError:
    """The same once more, to be raised where the first is kept: one that was raised holds the frames that it passed."""
    copy = type(error).__new__(type(error), *error.args)
    copy.__dict__.update(error.__dict__)
    return copy


def taken(error: Exception) -> Exception:
    """As ``unwrap``, for who has caught it: frames that only the group has passed keep nothing any more."""
    inner = unwrap(error)
    if inner is not error:
        _clear(error.__traceback__, set(_frames(inner.__traceback__)))
    return inner


def forget(error: BaseException | None) -> None:
    """An exception has been dealt with: break the reference cycles that it is in.

    What the user's own functions keep in their variables is let go of; the lines of the traceback stay, for who has
    kept the exception. An ``HTTPError`` loses them too, and what has led to it: nobody is told of them, and one that is
    made once and raised for each request would grow by them.
    """
    todo = [error]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        todo += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            todo += each.exceptions
        _clear(each.__traceback__)
        if isinstance(each, HTTPError):
            each.__traceback__ = each.__cause__ = each.__context__ = None


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _clear(trace: TracebackType | None, spared: Container[FrameType] = ()) -> None:
    """Clear the frames that have ended, and those that have called them: trio's keep what they have caught."""
    seen: set[FrameType] = set()
    for frame in _frames(trace):
        clear_ended(frame, seen, spared)


def clear_ended(frame: FrameType | None, seen: set[FrameType] | None = None, spared: Container[FrameType] = ()) -> None:
    """Clear a frame and its callers, up to the first that has not ended. Not those that wait, which before Python 3.13
    this would end.
    """
    seen = set() if seen is None else seen
    while frame is not None and frame not in seen and frame not in spared:
        seen.add(frame)
        if sys.version_info < (3, 13) and frame.f_code.co_flags & _SUSPENDS:
            break
        try:
            frame.clear()
        except RuntimeError:  # it has not ended, nor have its callers
            break
        frame = frame.f_back


def chained(error: Exception, earlier: Exception) -> Exception:
    """An error that came up in dealing with an earlier one, which a traceback then shows too, as Python has it in an
    ``except`` block.
    """
    known: list[BaseException] = []
    link: BaseException | None = earlier
    while link is not None and link not in known:
        known.append(link)
        link = link.__cause__ or link.__context__
    last: BaseException = error
    while last not in known:
        following = last.__cause__ or last.__context__
        if following is None:
            last.__context__ = earlier
            break
        known.append(last)  # a chain that a user has made may be a circle
        last = following
    return error
