"""A gateway in front of a language model: keys, tokens as events, what was used, documents, a chat, metrics.

Its upstream is any server of OpenAI's API, such as ``examples.completions:app`` at port 9000 (``GATEWAY_UPSTREAM``)::

    GATEWAY_KEYS=ada=secret hypercorn -k trio 'examples.gateway:from_environment()'
    curl -N localhost:8000/v1/chat/completions -H 'authorization: Bearer secret' --json '{"model": "stub",
        "messages": [{"role": "user", "content": "Hello there"}]}'
    curl localhost:8000/usage.csv -H 'authorization: Bearer secret'

``/`` is a page with the chat, ``/docs`` describes the rest. Several workers need ``GATEWAY_REDIS`` and
``PROMETHEUS_MULTIPROC_DIR``. Needs ``trioweb[metrics,redis]`` and ``httpx``.
"""

import logging

from examples.gateway import chat, completions, records
from examples.gateway.services import Services, make_tables
from examples.gateway.settings import Settings
from trioweb import App, RequestID
from trioweb.hub import MemoryHub, RedisHub
from trioweb.middleware import Metrics, RateLimit, RequestIDFilter, metrics_page
from trioweb.security import CSRF, MemorySessions, RedisSessions


def make(settings: Settings) -> App:
    """The app, of settings: a test makes its own."""
    app = App()
    hub = RedisHub(settings.redis, prefix="gateway:") if settings.redis else MemoryHub()
    sessions = RedisSessions(settings.redis) if settings.redis else MemorySessions()
    limit = RateLimit(settings.rate, per=60, redis=settings.redis or None)
    services = app.state.services = Services(settings, hub)
    for opened in (hub, sessions, limit, services.pool, services.upstream, make_tables):
        app.lifespan(opened)
    app.add_middleware(Metrics)
    for middleware in (RequestID(), limit, CSRF(), sessions):
        app.middleware(middleware)
    for part in (completions, records, chat):
        app.include(part.router)
    app.get("/metrics", include_in_schema=False)(metrics_page)
    app.add_docs("/docs", title="Gateway", version="1.0")
    return app


def from_environment() -> App:
    """The app of this process, and its log: each line has the id of the request that it is about."""
    handler = logging.StreamHandler()
    handler.addFilter(RequestIDFilter())
    logging.basicConfig(format="%(levelname)s [%(request_id)s] %(name)s: %(message)s", handlers=[handler], level="INFO")
    logging.getLogger("httpx").setLevel("WARNING")
    return make(Settings.load())
