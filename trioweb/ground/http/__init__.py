"""The formats of HTTP: header fields, cookies, ranges, forms, event streams. Pure functions: no trio, no I/O."""
