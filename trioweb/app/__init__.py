"""The app: routes, dispatch, the chain of ASGI middleware, the shutdown.

This folder alone decides which route answers a scope, what is configured for all routes, and when an app has stopped.
It knows all folders below it: ``exchange`` runs what it has found.

A scope's road: ``App.__call__`` -> ``stack`` (ASGI middleware) -> ``dispatch`` (host, path, method) -> an ``Exchange``,
a ``Conversation`` (WebSocket) or a mounted ASGI app.
"""
