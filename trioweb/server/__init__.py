"""The server behind ``trioweb run``: HTTP/1.1 of its own, Hypercorn's configuration, HTTP/2 and WebSockets."""
