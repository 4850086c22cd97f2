"""One WebSocket for an ASGI app, over a pipe of bytes that HTTP/1.1 gives after its 101, or a stream of HTTP/2."""
