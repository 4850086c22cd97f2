"""Which hosts an app answers for: a made-up ``host`` header must not get into its links and redirects."""

from __future__ import annotations

from collections.abc import Sequence

from trioweb.ground.errors import HTTPError
from trioweb.layers import CallNext
from trioweb.request import Request
from trioweb.responses import Response


class TrustedHosts:
    """Refuses requests for other hosts with a 400.

    ::

        app.middleware(TrustedHosts(["example.com", "*.example.com"]))

    Args:
        hosts: names without ports; ``*.`` before one stands for all below it, but not for itself.

    Raises:
        TypeError: the list is a single string.
        ValueError: it is empty, or a name has a ``*`` elsewhere.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        if isinstance(hosts, str):
            raise TypeError(f"TrustedHosts takes a list: write TrustedHosts([{hosts!r}])")
        if not hosts:
            raise ValueError("TrustedHosts needs a host, or no request would be answered")
        for host in hosts:
            if "*" in host.removeprefix("*."):
                raise ValueError(f'a host begins with "*." or has no "*" at all, got {host!r}')
        self._names = frozenset(host.lower() for host in hosts if not host.startswith("*."))
        self._endings = tuple(host[1:].lower() for host in hosts if host.startswith("*."))

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Go on for a host of ours."""
        given = request.headers.getlist("host")
        name = _without_port(given[0]).lower() if len(given) == 1 else ""
        if name in self._names or (name.endswith(self._endings) and name not in self._endings):
            return await call_next(request)
        raise HTTPError(400, "There is no such host here.")


def _without_port(host: str) -> str:
    if host.startswith("["):  # an IPv6 address, which has colons of its own
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")
