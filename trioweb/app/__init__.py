"""The app: routes, dispatch, the chain of ASGI middleware, the shutdown.

This folder alone decides which route answers a scope, what is configured for all routes, and when an app has stopped.
It may import all folders below it.

The way of a scope: ``App.__call__`` -> ``stack`` (ASGI middleware) -> ``dispatch`` (path, method) -> an ``Exchange``, a
``Conversation`` (WebSocket) or a mounted ASGI app.
"""
