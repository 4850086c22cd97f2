"""HTTP/2 of our own: frames, heads and schedules without I/O; on top of them the connection and its streams."""
