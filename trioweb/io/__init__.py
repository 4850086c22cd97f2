"""ASGI's ``receive`` and ``send``, what ASGI cannot say, and worker threads.

This folder alone decides what is read ahead, how messages are written, and what is asked of a server beyond ASGI:
``hypercorn`` is the only module that reaches into Hypercorn for a request. It knows ``ground``.
"""
