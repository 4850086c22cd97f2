"""A connection's bytes, time limits and rates: what no protocol changes."""
