"""HTTP/1.1 (RFC 9110, RFC 9112) at trio's speed: what of it needs no socket, and the connection as one trio task."""
