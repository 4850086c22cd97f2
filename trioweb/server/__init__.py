"""The server behind ``trioweb run``: Hypercorn's configuration and protocols, in workers of our own."""
