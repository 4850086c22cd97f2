"""Security schemes: a dependency says which one it checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from trioweb.handlers.arguments import Arguments
from trioweb.handlers.signatures import label_of, layers_of

F = TypeVar("F", bound=Callable[..., object])

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


def requirements_of(plan: Arguments) -> list[Requirement]:
    """What the dependencies of a handler check, each once, in the order of the handler's parameters.

    Raises:
        ValueError: if two dependencies call different schemes by the same name.
    """
    found: dict[str, Requirement] = {}
    for arguments in plan.everything:
        for _, dependency in arguments.provided:
            said = next((each for layer in layers_of(dependency.function) for each in [_said(layer)] if each), ())
            for requirement in said:
                known = found.setdefault(requirement.name, requirement)
                if known.scheme != requirement.scheme:
                    raise ValueError(
                        f"{label_of(dependency.function)} names the scheme {requirement.name!r}, which another "
                        f"dependency describes as {dict(known.scheme)}: give one of them another name"
                    )
    return list(found.values())


def _said(function: object) -> tuple[Requirement, ...]:
    said: tuple[Requirement, ...] = getattr(function, _ATTRIBUTE, ())
    return said
