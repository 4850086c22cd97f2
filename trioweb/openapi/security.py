"""Security schemes: a dependency says which one it checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

import msgspec

from trioweb.handlers.arguments import Arguments, Dependency
from trioweb.handlers.signatures import Function, label_of, layers_of

F = TypeVar("F", bound=Callable[..., object])

Way: TypeAlias = dict[str, list[str]]
"""A way to be let in: the scopes by the names of the schemes that it needs together."""
_ATTRIBUTE: Final = "__openapi_security__"


class Requirement(msgspec.Struct, frozen=True):
    """What a dependency checks.

    Attributes:
        name: the name of the scheme.
        scheme: the scheme, as OpenAPI writes one.
        scopes: what the client must be allowed to do.
        optional: a request without credentials passes.
    """

    name: str
    scheme: Mapping[str, object]
    scopes: tuple[str, ...] = ()
    optional: bool = False


class Alternatives:
    """A dependency that takes what several others check, of which a client needs one.

    Args:
        optional: it may have none.
    """

    def __init__(self, *, optional: bool) -> None:
        self.optional = optional


def security(
    name: str, scheme: Mapping[str, object], *, scopes: Sequence[str] = (), optional: bool = False
) -> Callable[[F], F]:
    """Say which security scheme a dependency checks: each route that uses it is described so, with a 401.

    ::

        @security("token", {"type": "http", "scheme": "bearer"})
        async def user(authorization: Annotated[str, Header] = ""):
            if authorization != "Bearer secret":
                raise HTTPError(401, headers={"www-authenticate": "Bearer"})
            return "ada"

    It checks nothing by itself. The function is returned unchanged.

    Args:
        name: the name of the scheme, the same for all dependencies that check it.
        scheme: a Security Scheme Object of OpenAPI.
        scopes: what the client must be allowed to do.
        optional: a request without credentials passes.

    Raises:
        TypeError: if the scheme is not a mapping with a ``type``, or ``scopes`` is one string.
    """
    if not isinstance(scheme, Mapping) or "type" not in scheme:
        raise TypeError(
            f'security({name!r}, ...) takes a scheme as OpenAPI writes one, got {scheme!r}: write {{"type": "http", '
            '"scheme": "bearer"}'
        )
    if isinstance(scopes, str):
        raise TypeError(f"security({name!r}, ...): scopes is a list: write scopes=[{scopes!r}]")
    requirement = Requirement(name, dict(scheme), tuple(scopes), optional)

    def mark(function: F) -> F:
        setattr(function, _ATTRIBUTE, (*getattr(function, _ATTRIBUTE, ()), requirement))
        return function

    return mark


class Security(NamedTuple):
    """What an operation needs.

    Attributes:
        ways: the ways to be let in.
        schemes: the schemes by their names.
    """

    ways: list[Way]
    schemes: dict[str, dict[str, object]]


def security_of(plan: Arguments) -> Security:
    """What the dependencies of a handler check together.

    Raises:
        ValueError: if two dependencies call different schemes by the same name.
    """
    found = {id(each): each for arguments in plan.everything for _, each in arguments.provided}
    said = Security([{}], {})
    for each in found.values():
        for requirement in _said(each.function):
            scheme = said.schemes.setdefault(requirement.name, dict(requirement.scheme))
            if scheme != requirement.scheme:
                raise ValueError(
                    f"{label_of(each.function)} names the scheme {requirement.name!r}, which another dependency "
                    f"describes as {scheme}: give one of them another name"
                )
    within: set[int] = set()  # dependencies that are one of several
    for each in found.values():
        if isinstance(each.function, Alternatives):
            within |= {id(one) for arguments in each.arguments.everything for _, one in arguments.provided}
    ways = said.ways
    for number, each in found.items():
        if number not in within:
            ways = [_together(way, more) for way in ways for more in _ways(each)]
    return Security([way for at, way in enumerate(ways) if way not in ways[:at]], said.schemes)


def _ways(dependency: Dependency) -> list[Way]:
    """The ways to be let in by a dependency."""
    nothing: list[Way] = [{}]
    if isinstance(dependency.function, Alternatives):
        ways = [_needed(one) for _, one in dependency.arguments.provided]
        return (nothing if dependency.function.optional else []) + ways
    ways = nothing
    for each in _said(dependency.function):
        with_it = [_together(way, {each.name: list(each.scopes)}) for way in ways]
        ways = ways + with_it if each.optional else with_it
    return ways


def _together(first: Way, second: Way) -> Way:
    return {name: [*dict.fromkeys((*first.get(name, ()), *second.get(name, ())))] for name in (*first, *second)}


def _needed(dependency: Dependency) -> Way:
    """The schemes of a dependency, and of those that it takes, as if none were optional."""
    below = [one for arguments in dependency.arguments.everything for _, one in arguments.provided]
    needed: Way = {}
    for each in (said for one in (dependency, *below) for said in _said(one.function)):
        needed = _together(needed, {each.name: list(each.scopes)})
    return needed


def _said(function: Function) -> tuple[Requirement, ...]:
    """What the outermost layer of a function that says something says."""
    for layer in layers_of(function):
        if said := getattr(layer, _ATTRIBUTE, ()):
            return tuple(said)
    return ()
