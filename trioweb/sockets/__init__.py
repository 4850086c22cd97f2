"""One WebSocket, from its handshake to its close.

This folder alone decides which task runs its handler, when ``ws.nursery`` closes, what a peer that leaves cancels, and
what becomes of the handshake. It knows ``exchange``, whose ``Call``, error handlers and policy it shares.

A WebSocket's road: ``Conversation`` (handshake -> handler -> close). With middleware a ``Handshake`` is around it:
middleware -> ``HeldSocket`` (``Conversation`` or a mounted app) -> response -> accept, or denial.
"""
