"""Who is it: credentials, sessions on the server, and what keeps other sites' pages from acting for a user.

It decides alone what is accepted as a credential, and how it is compared; when a session on the server ends; and which
requests are taken for those of another site's page. It uses what users can use: dependencies, middleware, lifespans.
Nothing knows it, and it can be left out.
"""

from __future__ import annotations

from trioweb.security.alternatives import AnyOf
from trioweb.security.credentials import APIKey, BasicAuth, BasicCredentials, BearerToken
from trioweb.security.csrf import CSRF, csrf_token
from trioweb.security.redis import RedisSessions
from trioweb.security.sessions import MemorySessions, session

__all__ = [
    "CSRF",
    "APIKey",
    "AnyOf",
    "BasicAuth",
    "BasicCredentials",
    "BearerToken",
    "MemorySessions",
    "RedisSessions",
    "csrf_token",
    "session",
]
