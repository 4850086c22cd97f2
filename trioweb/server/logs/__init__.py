"""The logs of ``trioweb run``: the entries of the access log, and their format."""
