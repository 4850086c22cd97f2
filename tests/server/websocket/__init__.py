"""WebSockets of the server's own."""
