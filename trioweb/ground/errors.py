"""Exceptions: a handler's deliberate response, a fault of the client, or a mistake in the user's code.

An exception that was raised refers to the frames that it passed, and so to all their variables: to a request's body,
for instance. What stores, groups or logs exceptions here clears those frames, so that a request is freed at once.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from http import HTTPStatus
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Any, Final, TypedDict

SHOWN: Final = 10
"""Invalid inputs that the text of an ``InputError`` names; ``errors`` has all of them."""
_SUSPENDS: Final = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
"""Flags of code that can be suspended."""
NEEDS_TRIO: Final = (
    "trioweb runs on trio, and this server does not: run it with `hypercorn -k trio module:app`, where module is the "
    "name of your file and app the name of your App"
)


class HTTPError(Exception):
    """A deliberate response with an error status.

    Raise it anywhere before the response has started; the client gets a problem document (RFC 9457) or, in a
    browser, a page. ``@app.error_handler(status)`` or ``@app.error_handler(HTTPError)`` replaces that response.

    Args:
        status: the HTTP status code, 400 to 599.
        detail: a sentence for the client about this occurrence; by default the reason phrase of the status. Or a
            mapping, whose items become members of the problem document, ``type``, ``title``, ``detail`` and
            ``instance`` too: ``{"detail": "It is sold out.", "left": 0}``. Their values are what has a JSON form.
        headers: headers of the response, for instance ``{"retry-after": "5"}``.

    Raises:
        TypeError: if ``detail`` is neither a ``str`` nor a mapping of names.
        ValueError: if ``status`` is not an error status, or ``detail`` has another one, or a header has a CR, LF or
            NUL.
    """

    def __init__(
        self,
        status: int,
        detail: str | Mapping[str, object] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError is for statuses 400 to 599, got {status!r}: return a Response instead")
        if isinstance(detail, Mapping):
            _check_members(status, detail)
        elif detail is not None and not isinstance(detail, str):
            got = type(detail).__qualname__
            raise TypeError(
                f"the detail of an HTTPError is a str, or a mapping of members of the problem document, got {got}: for "
                f"another body, return JSONResponse(..., {status})"
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
        self.detail: Any = detail  # as it was given, by the user
        self.headers = headers

    @property
    def status_code(self) -> int:
        """The same as ``status``, under the name that responses use."""
        return self.status

    def __str__(self) -> str:
        said = self.detail.get("detail") if isinstance(self.detail, Mapping) else self.detail
        return f"{self.status} {said or phrase_of(self.status)}"


def _check_members(status: int, members: Mapping[str, object]) -> None:
    for name in members:
        if not isinstance(name, str):
            raise TypeError(f"a member of a problem document has a name, got {name!r}: write {str(name)!r}")
    if members.get("status", status) != status:
        raise ValueError(f"the detail of an HTTPError({status}) has the status {members['status']!r}: leave it out")


class Fault(TypedDict):
    """One invalid input.

    Attributes:
        loc: its location: ``path``, ``query``, ``header``, ``cookie``, ``form`` or ``body``, then the names and indexes
            that lead to it.
        msg: what is wrong.
    """

    loc: list[str | int]
    msg: str


class InputError(HTTPError):
    """The request can be parsed, but its inputs are not what the handler is annotated with: a 422 that names them.

    Args:
        errors: the invalid inputs.

    Attributes:
        errors: the same: the member ``errors`` of the problem document.
    """

    def __init__(self, errors: Sequence[Fault]) -> None:
        self.errors = list(errors)
        named = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in self.errors[:SHOWN]]
        more = [f"and {len(self.errors) - SHOWN} more"] if len(self.errors) > SHOWN else []
        super().__init__(422, "The request does not fit. " + "; ".join([*named, *more]))


class ClientDisconnected(Exception):
    """The client left before its request body was complete or its response was sent. Raised by the calls that read the
    body or send; never logged.
    """


class BrokenOff(ClientDisconnected):
    """A mounted app has aborted its response and logged the error, which is the cause of this one if it is known."""


class WebSocketDisconnect(ClientDisconnected):
    """The WebSocket is closed: the peer left, or this side closed it. Raised by the calls that receive and send; a
    handler need not catch it, and it is never logged.

    Attributes:
        code: the close code (RFC 6455, section 7.4) of the peer, or of this side's own ``close``; 1005 if the peer gave
            none, 1006 if the connection was lost, or the server does not say.
        reason: the reason in words.
    """

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the WebSocket is closed with code {self.code}" + (f": {self.reason}" if self.reason else "")


class RouteError(ValueError):
    """A mistake in the registration of a route. The message names the route, the reason, and what to write instead."""


class StreamTimeout(Exception):
    """A response exceeded a limit (``idle_timeout``, ``write_timeout``, ``max_duration``, ``min_rate``, a route's
    ``timeout``) and was aborted. It is logged, and given to ``on_error``; the generator of the stream is cancelled.
    """


class ContentLengthError(Exception):
    """A stream gave fewer or more bytes than its ``content-length`` declares. The response is aborted, or ends at the
    declared length; the error is logged.
    """


def phrase_of(status: int) -> str:
    """The reason phrase of a status code (RFC 9110, section 15), or a general one."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client error" if status < 500 else "Server error"


def unwrap(error: Exception) -> Exception:
    """The only exception of a group, or the error itself."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def renewed(error: HTTPError) -> HTTPError:
    """A copy, to be raised while the original is stored: raising the original would store the frames that it passes."""
    copy = type(error).__new__(type(error), *error.args)  # without __init__, whose parameters a subclass may change
    copy.__dict__.update(error.__dict__)
    return copy


def taken(error: Exception) -> Exception:
    """``unwrap`` a caught error, and clear the frames that only the group has passed."""
    inner = unwrap(error)
    if inner is not error:
        _clear(error.__traceback__, {frame for frame, _ in walk_tb(inner.__traceback__)})
    return inner


def forget(error: BaseException | None) -> None:
    """Break the reference cycles of an exception that has been handled: clear the variables of its frames.

    The traceback keeps its lines, for code that has kept the exception. An ``HTTPError`` loses its traceback, cause and
    context too: nothing prints them, and an instance that is raised for each request would collect them.
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


def _clear(trace: TracebackType | None, spared: Container[FrameType] = ()) -> None:
    """Clear the finished frames of a traceback, and their callers: trio's frames hold the exceptions they caught."""
    seen: set[FrameType] = set()
    for frame, _ in walk_tb(trace):
        clear_ended(frame, seen, spared)


def clear_ended(frame: FrameType | None, seen: set[FrameType] | None = None, spared: Container[FrameType] = ()) -> None:
    """Clear a frame and its callers, up to the first that still runs or is suspended."""
    seen = set() if seen is None else seen
    while frame is not None and frame not in seen and frame not in spared:
        seen.add(frame)
        if sys.version_info < (3, 13) and frame.f_code.co_flags & _SUSPENDS:
            break  # before Python 3.13 clear() closes a suspended coroutine or generator
        try:
            frame.clear()
        except RuntimeError:  # it still runs, and so do its callers
            break
        frame = frame.f_back


def chained(error: Exception, earlier: Exception) -> Exception:
    """Make ``earlier`` the context of ``error``, as Python does in an ``except`` block, and return ``error``."""
    known: list[BaseException] = []
    link: BaseException | None = earlier
    while link is not None and link not in known:
        known.append(link)
        link = link.__cause__ or link.__context__
    # Append `earlier` at the end of the chain of `error`, unless the two chains meet.
    last: BaseException = error
    while last not in known:
        following = last.__cause__ or last.__context__
        if following is None:
            last.__context__ = earlier
            break
        known.append(last)  # a user may have made a circular chain
        last = following
    return error
