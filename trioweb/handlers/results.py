"""The response for the value that a handler returns."""

from __future__ import annotations

import inspect
from typing import Any, Final

from trioweb.ground.chunks import BYTES_LIKE, JSON_TYPE, TEXT_TYPE
from trioweb.ground.encoding import NULL, encode_unchecked, refuse_nan
from trioweb.ground.foreign import is_json_value
from trioweb.messages.response import BODILESS, Response, bytes_response
from trioweb.messages.stream_responses import StreamingResponse
from trioweb.streams.sources import is_iterable, is_iterator

_TEXTS: Final = (str, *BYTES_LIKE)
_JSON_VALUES: Final = (dict, list, int, float, bool)


def to_response(value: Any, label: str, streaming: bool, status: int = 200) -> Response:
    """The response for a handler's value. Files are not opened yet.

    Args:
        value: the value that the handler returned.
        label: the handler, for messages.
        streaming: the value must be an iterable, and is streamed.
        status: the status of what is no ``Response``; 204 of ``None``, unless another than 200 is given.

    Raises:
        TypeError: if a handler may not return the value; the message names handler and type.
    """
    if value.__class__ is str and not streaming and status == 200:
        return bytes_response(value.encode(), TEXT_TYPE)
    if isinstance(value, Response):
        return value
    if status in BODILESS and value is not None:
        raise TypeError(
            f"{label} returned {_name(value)}, and its route has status_code={status}, which has no body: return None"
        )
    if streaming:
        return _streamed(value, label, status)
    if isinstance(value, _TEXTS):
        return Response(value, status)
    if value is None:
        return Response(status_code=204 if status == 200 else status)
    if isinstance(value, _JSON_VALUES):
        return _json(value, label, status)
    if is_iterator(value):  # also a dataclass, as the streams of anyio are
        return StreamingResponse(value, status)
    if is_json_value(value):
        return _json(value, label, status)
    raise _refused(value, label)


def _streamed(value: Any, label: str, status: int) -> Response:
    if is_iterable(value):
        return StreamingResponse(value, status)
    raise TypeError(
        f"{label} is registered with streaming=True, but returned {_name(value)}: return something to iterate, or yield"
    )


def _refused(value: object, label: str) -> TypeError:
    """The error for a value that a handler may not return."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # else Python would warn about the same
        return TypeError(f"{label} returned a {_name(value)} that nobody has awaited: write `return await ...`")
    hint = "return a Response, str, bytes, dict, list, number, dataclass, msgspec.Struct, None, or something to stream"
    if inspect.isroutine(value):
        hint = f"call it: write `return {value.__name__}(...)`, with `await` where it is an async def"
    elif isinstance(value, BaseException):
        hint = "raise it instead"
    elif is_iterable(value):
        if isinstance(value, tuple):
            kind = "JSONResponse" if value and isinstance(value[0], (dict, list)) else "Response"
            hint += f"; a status goes with {kind}(content, status)"
        hint += f"; to stream a {type(value).__qualname__}, register the route with streaming=True"
    return TypeError(f"{label} returned {_name(value)}: {hint}")


def _json(value: object, label: str, status: int) -> Response:
    try:
        body = encode_unchecked(value)
        if body.find(NULL) >= 0:
            refuse_nan(value, body)
    except (TypeError, ValueError) as error:
        hint = ": write `await` before the call that made it" if "type coroutine" in str(error) else ""
        raise TypeError(f"{label} returned {_name(value)} that has no JSON form: {error}{hint}") from error
    return bytes_response(body, JSON_TYPE, status)


def _name(value: object) -> str:
    return type(value).__qualname__
