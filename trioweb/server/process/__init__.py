"""The processes of ``trioweb run``: supervisor, workers, their sockets, and the reload."""
