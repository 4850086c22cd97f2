"""The logs of ``trioweb run``: their set-up, and the entries of the access log."""
