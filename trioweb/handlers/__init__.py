"""From the signature of a function to its arguments, and from its result to a response.

This folder alone decides how a callable is called, what a parameter takes from a request, and which errors a
registration raises. It knows ``messages``; nothing here sends or receives by itself.

The road: ``planner`` (when the route is registered) -> ``arguments`` (for each request) -> ``endpoint`` -> response.
"""
