"""Sign-in: credentials, sessions on the server, and requests that other pages send."""
