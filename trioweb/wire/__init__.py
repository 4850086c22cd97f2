"""The wire: bytes between a producer and ASGI's ``send``, and from ASGI's ``receive`` to whoever reads a body."""
