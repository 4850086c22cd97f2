"""The processes of ``trioweb run``: supervisor, workers, their sockets, the reload."""
