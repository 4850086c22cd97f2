"""An id for each request, for its response, the log, and the requests it makes to other services."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from trioweb.ground.http.headers import is_token
from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import Response

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, and ``None`` outside of one: in middleware, handler, dependencies and stream, and in
the tasks and threads that they start, also in those that outlive the request.
"""

_GIVEN: Final = re.compile(r"[A-Za-z0-9._+/=:-]{1,128}")


class RequestID:
    """Gives each request an id: ``request.state.request_id``, ``request_id.get()``, and a response header, also of
    error responses.

    Args:
        header: its name. The request's own id is kept if it consists of 1 to 128 letters, digits and ``._+/=:-``.
        generate: makes an id; 32 random hexadecimal digits unless given.
        trust: keep the request's own id. Turn it off if clients reach the app directly and ids must be unique.

    Raises:
        TypeError: if ``generate`` cannot be called.
        ValueError: if no header has such a name.
    """

    def __init__(
        self, header: str = "x-request-id", generate: Callable[[], str] = lambda: uuid.uuid4().hex, trust: bool = True
    ) -> None:
        if not is_token(header):
            raise ValueError(f"RequestID: {header!r} is not the name of a header")
        if not callable(generate):
            raise TypeError(f"RequestID: generate is a function that returns an id, got {generate!r}")
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
        request_id.set(chosen)  # not reset: what the request fails with later is logged outside of here, with its id
        response = await call_next(request)
        mark(response)
        return response


class RequestIDFilter(logging.Filter):
    """Gives each record of a handler the id of the request that it was logged in, for formats: ``%(request_id)s``.

    ::

        handler = logging.StreamHandler()
        handler.addFilter(RequestIDFilter())
        logging.basicConfig(format="%(levelname)s [%(request_id)s] %(message)s", handlers=[handler])

    Add it to handlers: a filter of a logger does not see the records of the loggers below it.

    Args:
        default: the id of what is logged outside of requests.
    """

    def __init__(self, default: str = "-") -> None:
        super().__init__()
        self._default = default

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the record's ``request_id``, unless it has one. Lets every record through."""
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get() or self._default
        return True
