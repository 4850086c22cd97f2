"""An id for each request: the same in its response, in the log, and in what it asks of other services."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import Response

request_id: ContextVar[str] = ContextVar("request_id")
"""The id of the request at hand, for loggers: in middleware, handler, stream, and what they start."""

_GIVEN: Final = re.compile(r"[A-Za-z0-9._+/=:-]{1,128}")


def _new_id() -> str:
    return uuid.uuid4().hex


class RequestID:
    """Gives each request an id: ``request.state.request_id``, ``request_id.get()``, and a header of the response, be it
    to an error.

    Args:
        header: its name. One that comes with the request is kept where it is 1 to 128 letters, digits and ``._+/=:-``.
        generate: makes an id; 32 random hexadecimal digits unless given.
        trust: keep the id that came with the request. Turn it off where clients talk to the app directly and ids must
            be unique.
    """

    def __init__(self, header: str = "x-request-id", generate: Callable[[], str] = _new_id, trust: bool = True) -> None:
        self._header = header
        self._generate = generate
        self._trust = trust

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Go on with an id."""
        given = request.headers.get(self._header, "") if self._trust else ""
        chosen = given if _GIVEN.fullmatch(given) else self._generate()
        request.state.request_id = chosen
        request.scope.get("state", {})["request_id"] = chosen  # for the server's access log

        def mark(response: Response) -> None:
            response.headers[self._header] = chosen

        request.mark_errors(mark)
        token = request_id.set(chosen)
        response = await call_next(request)  # what this raises is logged, and answered, outside: with the id
        request_id.reset(token)
        mark(response)
        return response
