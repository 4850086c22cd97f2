"""Call handlers: from a function's signature to its arguments, and from its result to a response.

This folder alone decides how a callable is called, what a parameter takes from a request, and which errors a
registration raises. It knows ``messages``; nothing here sends or receives.

The order of work: ``planner`` (when the route is registered), then for each request ``arguments`` and ``endpoint``.
"""
