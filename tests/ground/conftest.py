"""The settings for generated examples: the same on each run, without a clock, and nothing left on the disk."""

import contextlib

with contextlib.suppress(ModuleNotFoundError):  # whose tests are left out then
    from hypothesis import settings

    settings.register_profile("trioweb", deadline=None, derandomize=True, database=None, max_examples=200)
    settings.load_profile("trioweb")
