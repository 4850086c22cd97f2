"""Whether a credential is one that is known: compared in constant time, or by a function of the user's."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import partial
from inspect import Parameter
from typing import Any, Final, TypeAlias

import trio

from trioweb.ground.errors import RouteError
from trioweb.handlers.markers import marker_of, misplaced_default
from trioweb.handlers.signatures import (
    Function,
    Kind,
    Unresolved,
    call_in_thread,
    is_a,
    kind_of,
    label_of,
    parameters_of,
    takes,
)
from trioweb.messages.connection import Connection

Check: TypeAlias = Function
"""A function of the parts of a credential, and of what a dependency takes: an ``async def``, or a ``def`` in a worker
thread.
"""
ANY: Final[Any] = object()
"""Instead of a check: each credential is taken as it is."""
_NAMED: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class Secrets:
    """Secrets that are known, with the value of each.

    Args:
        where: for messages.
        known: the values by the secrets.

    Raises:
        TypeError: if a secret is not a str.
        ValueError: if there is none, or one is empty.
    """

    def __init__(self, where: str, known: Mapping[str, object]) -> None:
        for secret in known:
            if not isinstance(secret, str):
                raise TypeError(f"{where}: a secret is a str, got {type(secret).__name__}")
            if not secret:
                raise ValueError(f"{where}: an empty secret is none: is a variable of the environment not set?")
        if not known:
            raise ValueError(f"{where}: there is no secret, so nobody could pass: give at least one")
        self._known = [(_digest(secret), value) for secret, value in known.items()]

    def find(self, given: str) -> object:
        """The value of a secret; ``None`` if it is not known. The time that this takes depends on no secret."""
        digest, found = _digest(given), None
        for known, value in self._known:
            if hmac.compare_digest(digest, known):
                found = value
        return found


class Passwords:
    """The passwords of users; arguments as for ``Secrets``."""

    def __init__(self, where: str, known: Mapping[str, str]) -> None:
        self._users = {user: Secrets(f"{where}: the password of {user!r}", {known[user]: user}) for user in known}
        if not known:
            raise ValueError(f"{where}: there is no user, so nobody could pass: give at least one")
        self._nobody = Secrets(where, {"nobody": None})

    def find(self, user: str, password: str) -> object:
        """The user, if the password is theirs. An unknown user takes as long as a known one."""
        return self._users.get(user, self._nobody).find(password)


def check_of(where: str, given: object, count: int, named: str) -> Check | None:
    """The function that checks a credential; ``None`` for ``ANY``.

    Args:
        where: for messages.
        given: secrets, or a function.
        count: how many arguments the function takes.
        named: what a function is written as.

    Raises:
        TypeError: if it is neither.
        ValueError: if it is no secret.
    """
    if given is ANY:
        return None
    if callable(given):
        if kind_of(given) is Kind.GENERATOR:
            raise TypeError(f"{where}: {label_of(given)} yields: return the value, or raise an HTTPError")
        if not takes(given, count, [each.name for each in inputs_of(given, count)]):
            raise TypeError(
                f"{where}: {label_of(given)} must take {named}: write `async def check({named}): ...`; what "
                "else it takes must say where it is from, as request: Request or Annotated[..., Provide(function)]"
            )
        return given
    if count == 2 and isinstance(given, Mapping):
        return Passwords(where, given).find
    if count == 1 and isinstance(given, Mapping):
        return Secrets(where, given).find
    if count == 1 and isinstance(given, str):
        return Secrets(where, {given: given}).find
    if count == 1 and isinstance(given, Iterable):
        return Secrets(where, {each: each for each in given}).find
    wanted = "a secret, a list or mapping of secrets" if count == 1 else "a mapping of users to passwords"
    raise TypeError(
        f"{where} takes {wanted}, or a function of ({named}), got {type(given).__name__}: leave it out to take any "
        "credential and look at it in a dependency of your own"
    )


def inputs_of(check: Check | None, count: int) -> list[Parameter]:
    """What a check takes besides the parts of a credential, where it says by a marker or a type from where.

    All else stays at its default: what was not written for requests has no parameter that a client could set.
    """
    if check is None or _is_ready(check):
        return []
    try:
        parameters = [each for each in parameters_of(check).values() if each.kind in _NAMED]
    except RouteError:  # a function in C without a signature
        return []
    others = [each for number, each in enumerate(parameters) if number >= count or each.kind is Parameter.KEYWORD_ONLY]
    return [each.replace(kind=Parameter.KEYWORD_ONLY) for each in others if _is_input(each)]


async def checked(check: Check, *parts: str, **inputs: object) -> object:
    """What a check returns for a credential."""
    if _is_ready(check):
        return check(*parts)  # it takes microseconds
    if kind_of(check) is Kind.COROUTINE:
        return await check(*parts, **inputs)
    return await call_in_thread(partial(check, *parts, **inputs))


def _is_input(parameter: Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, Unresolved) or misplaced_default(parameter.default):
        return True  # the planner says what is wrong
    if annotation is Parameter.empty:
        return parameter.default is Parameter.empty and parameter.name in {"request", "ws"}
    try:
        marker = marker_of(annotation)[1]
    except ValueError:
        return True
    return marker is not None or is_a(annotation, Connection) or is_a(annotation, trio.Nursery)


def _is_ready(check: Check) -> bool:
    return isinstance(getattr(check, "__self__", None), (Secrets, Passwords))


def _digest(secret: str) -> bytes:
    """Of the same length for all secrets: what is compared tells nothing of theirs."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
