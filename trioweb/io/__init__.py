"""ASGI's ``receive`` and ``send``, the extensions of servers, files, and worker threads.

This folder alone decides what is read ahead, how messages are sent, and what is asked of a server beyond ASGI:
``hypercorn`` is the only module that uses Hypercorn's objects for a request. It knows ``ground``.
"""
