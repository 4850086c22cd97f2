"""Middlewares for ``app.middleware(...)``. Each is also an example of how to write one."""

from __future__ import annotations

from trioweb.handlers.layers import CallNext, Middleware
from trioweb.middleware.compression import Compression
from trioweb.middleware.cors import CORS
from trioweb.middleware.hosts import TrustedHosts
from trioweb.middleware.late import Session
from trioweb.middleware.metrics import Metrics, metrics_page
from trioweb.middleware.ratelimit import RateLimit, client_address
from trioweb.middleware.requestid import RequestID, RequestIDFilter, request_id
from trioweb.middleware.security import SecurityHeaders
from trioweb.middleware.sessions import Sessions
from trioweb.middleware.timing import Timing, measure

__all__ = [
    "CORS",
    "CallNext",
    "Compression",
    "Metrics",
    "Middleware",
    "RateLimit",
    "RequestID",
    "RequestIDFilter",
    "SecurityHeaders",
    "Session",
    "Sessions",
    "Timing",
    "TrustedHosts",
    "client_address",
    "measure",
    "metrics_page",
    "request_id",
]
