"""One request, from its scope to the last byte of its response.

This folder alone decides which task runs what, when a nursery closes, what a disconnect of the client cancels, and
which error becomes which response. It knows ``handlers`` (what to call), ``messages`` (what to send) and ``io``.

A request's road: ``Exchange`` (middleware -> endpoint) -> outcome (a response, or an error) -> ``Finishing`` (error
handler -> ``Delivery``). What they share is a ``Call``.
"""
