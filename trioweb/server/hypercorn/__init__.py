"""Hypercorn's protocols in ``trioweb run`` (HTTP/2, HTTP/3, WebSockets), and what it adds to them."""
