"""The guide, and the examples in docstrings: every one is executed."""
