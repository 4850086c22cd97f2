"""A session, and what becomes of changes after the response has begun: they are saved, or refused, and never lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial, wraps
from typing import Any, Final, Protocol, TypeAlias
from weakref import ref

from trioweb.ground.encoding import encode_json
from trioweb.messages.request import Request


class Refuse(Protocol):
    """See ``LateChanges``."""

    def __call__(self, *, has_one: bool) -> None:
        """Raise, or not."""


Save: TypeAlias = Callable[[str, bytes, Mapping[str, object]], Awaitable[None]]
TOO_LATE: Final = "after the response had begun, or the WebSocket was accepted"


class Session(dict[str, Any]):
    """A session's JSON values by name. Changes are saved when the response begins.

    A later one, of a stream or a WebSocket that was accepted, is saved at the end by sessions on the server, if the
    browser has one already; else it raises a ``RuntimeError``. A stream has to assign what it changes within a value.
    """

    renewed = False
    _late: Callable[[], object] | None = None

    def renew(self) -> None:
        """Give the session another id when it is saved, so that the one before is worth nothing.

        Call it when somebody signs in: whoever has planted an id before would be signed in, too (session fixation).
        ``Sessions`` keeps no ids, and has no need of it.

        Raises:
            RuntimeError: if the response has begun.
        """
        if self._late is not None:
            raise RuntimeError(f"session.renew() came {TOO_LATE}: call it before")
        self.renewed = True

    def begin(self, late: Callable[[], object]) -> None:
        """Call a function before each change from now on: the response has begun."""
        self._late = late


def _noticed(name: str) -> Callable[..., Any]:
    """A method of a dict that tells of a late change before it makes it."""
    method = getattr(dict, name)

    @wraps(method)
    def change(self: Session, *args: object, **named: object) -> Any:
        if self._late is not None:
            self._late()
        return method(self, *args, **named)

    return change


for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(Session, _name, _noticed(_name))


class LateChanges:
    """What becomes of changes after the response has begun. A call tells of one before it is made.

    Args:
        refuse: raises, if no change can be saved; of a browser that has a session, and whose response goes on, or not.
        save: saves what has changed: of a cookie's session, since it was such JSON, as it is now.
        request: the request.
        has_one: for ``refuse``.
        data: what is saved when the response begins.

    Attributes:
        cookie: that of the session, as it was saved; ``None`` until then, and if there is none.
    """

    def __init__(self, refuse: Refuse, save: Save, request: Request, has_one: bool, data: bytes) -> None:
        self._refuse = refuse
        self._save = save
        self._request = ref(request)  # it refers to the session, which refers to this
        self._has_one = has_one
        self._data = data
        self._watches = False
        self.cookie: str | None = None

    def __call__(self) -> None:
        """See that a change will be saved.

        Raises:
            RuntimeError: if it cannot be.
        """
        self._refuse(has_one=self._has_one and self._request() is not None)
        self.watch()

    def watch(self) -> None:
        """Look at the end of the request for what has changed."""
        request = self._request()
        if request is not None and not self._watches:
            self._watches = True
            request.on_end(partial(self._end, request))

    async def _end(self, request: Request) -> None:
        kept, data = kept_by(request)
        if data != self._data:
            self._refuse(has_one=self._has_one)
            if self.cookie is not None:
                await self._save(self.cookie, self._data, kept)


def kept_by(request: Request) -> tuple[Mapping[str, Any], bytes]:
    """The session of a request, and its JSON.

    Raises:
        TypeError: if it is no session.
    """
    kept = getattr(request.state, "session", None) or {}  # None, or none at all, are ways to sign out, too
    if not isinstance(kept, Mapping):
        raise TypeError(f"request.state.session is a dict, got {type(kept).__name__}: write a name for its value")
    if wrong := [name for name in kept if not isinstance(name, str)]:  # JSON would make text of it
        raise TypeError(f"request.state.session has a value by {wrong[0]!r}: write {str(wrong[0])!r}")
    try:
        return kept, encode_json(kept)
    except (TypeError, ValueError) as error:
        raise TypeError(f"request.state.session has a value that has no JSON form: {error}") from error
