"""The description of an app's API as OpenAPI 3.2, made of the plans of its routes when it is asked for.

It alone decides how a plan is written down; it knows ``handlers`` and what is below, and neither the app nor a request.
What a route takes stands in its plan, and is not looked for a second time; what it answers stands in the annotation of
what its handler returns. The road: ``document`` walks the routes, ``operations`` writes one, of ``inputs`` and
``answers``, and ``schemas`` collects the types of all of them, so that each has one name. ``pages`` serves the result.
"""

from trioweb.openapi.security import security

__all__ = ["security"]
