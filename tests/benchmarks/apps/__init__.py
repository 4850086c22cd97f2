"""The same routes in several frameworks: ``/``, ``/async/N``, ``/sync/N``, ``/json/N`` and ``/blocks/SIZE/N``."""
