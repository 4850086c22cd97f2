"""What a run tells the apps, by their environment."""

from __future__ import annotations

import os

PORT = int(os.environ.get("BENCHMARK_PORT", "8000"))
"""Where to serve, for those that are not told on a command line."""
ROUTES = int(os.environ.get("BENCHMARK_ROUTES", "0"))
"""Routes besides those that all have."""
HUB = "BENCHMARK_HUB" in os.environ
"""Have a hub."""
MIDDLEWARES = int(os.environ.get("BENCHMARK_MIDDLEWARES", "0"))
"""Middlewares in front of all, which look at each response."""
FILES = os.environ.get("BENCHMARK_FILES", "")
"""Where the files to serve are; each has its size for a name."""
PROFILE = os.environ.get("BENCHMARK_PROFILE", "")
"""The path of the profile to write at the end."""
PYDANTIC = bool(os.environ.get("BENCHMARK_PYDANTIC"))
"""A route takes a model of pydantic's, also where another library is the usual one."""
COMPRESSION = bool(os.environ.get("BENCHMARK_COMPRESSION"))
"""All streams are compressed, whoever asks."""
