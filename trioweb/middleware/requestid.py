"""An id for each request, for its response, the log, and the requests it makes to other services."""

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
"""The id of the current request, for loggers: in middleware, handler, stream, and the tasks that they start."""

_GIVEN: Final = re.compile(r"[A-Za-z0-9._+/=:-]{1,128}")


class RequestID:
    """Gives each request an id: ``request.state.request_id``, ``request_id.get()``, and a response header, also of
    error responses.

    Args:
        header: its name. The request's own id is kept if it consists of 1 to 128 letters, digits and ``._+/=:-``.
        generate: makes an id; 32 random hexadecimal digits unless given.
        trust: keep the request's own id. Turn it off if clients reach the app directly and ids must be unique.
    """

    def __init__(
        self, header: str = "x-request-id", generate: Callable[[], str] = lambda: uuid.uuid4().hex, trust: bool = True
    ) -> None:
        self._header = header
        self._generate = generate
        self._trust = trust

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next with an id."""
        given = request.headers.get(self._header, "") if self._trust else ""
        chosen = given if _GIVEN.fullmatch(given) else self._generate()
        request.state.request_id = chosen
        request.scope.get("state", {})["request_id"] = chosen  # for the server's access log

        def mark(response: Response) -> None:
            response.headers[self._header] = chosen

        request.mark_errors(mark)
        token = request_id.set(chosen)
        response = await call_next(request)  # an exception is logged and answered outside, with the id still set
        request_id.reset(token)
        mark(response)
        return response
