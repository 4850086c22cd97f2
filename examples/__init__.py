"""Programs that use trioweb, to run and to read."""
