"""Which hosts an app serves: a forged ``host`` header must not get into its links and redirects."""

from __future__ import annotations

from collections.abc import Sequence

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.urls import parse_authority
from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import Response


class TrustedHosts:
    """Refuses requests for other hosts, or without a valid host, with a 400.

    ::

        app.middleware(TrustedHosts(["example.com", "*.example.com"]))

    Args:
        hosts: names or addresses without ports; ``*.`` before a name matches all its subdomains, but not the name.

    Raises:
        TypeError: if ``hosts`` is a string, or holds something else than strings.
        ValueError: if it is empty, or a name is not a valid host.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        if isinstance(hosts, str):
            raise TypeError(f"TrustedHosts takes a list: write TrustedHosts([{hosts!r}])")
        given = list(hosts)
        if not given:
            raise ValueError("TrustedHosts needs a host, or no request would be answered")
        self._names = frozenset(_name_of(host) for host in given if not _is_wildcard(host))
        self._endings = tuple("." + _name_of(host) for host in given if _is_wildcard(host))

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next for a trusted host."""
        hosts = request.headers.getlist("host")
        named = parse_authority(hosts[0]) if len(hosts) == 1 else None
        claimed = [named.host if named else ""]
        if (request.scope.get("raw_path") or b"/")[:1] != b"/":  # a URL, whose host counts (RFC 9112, section 3.2.2)
            claimed.append(request.url.hostname or "")
        if not all(map(self._trusts, claimed)):
            raise HTTPError(400, "There is no such host here.")
        return await call_next(request)

    def _trusts(self, name: str) -> bool:
        return name in self._names or name.endswith(self._endings)


def _is_wildcard(host: object) -> bool:
    if not isinstance(host, str):
        raise TypeError(f"TrustedHosts takes a list of str, got {host!r} in it")
    return host.startswith("*.")


def _name_of(host: str) -> str:
    """A host in the form that those of requests are compared with, without its wildcard.

    Raises:
        ValueError: if it is not a valid host.
    """
    name = host.removeprefix("*.")
    is_bare_address = name == host and name.count(":") > 1 and not name.startswith("[")
    found = parse_authority(f"[{name}]" if is_bare_address else name)
    if found is None or found.port is not None or (name != host and ":" in found.host):
        raise ValueError(
            f'TrustedHosts: {host!r} is not the name of a host: write "example.com", or "*.example.com" for all below '
            "it, without scheme, port and path, and a name outside ASCII as browsers send it (xn--...)"
        )
    return found.host
