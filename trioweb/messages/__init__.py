"""The objects that users work with: requests, responses, bodies, forms, uploads, WebSockets, and their limits.

This folder alone decides what these objects promise to users. A response is data: status, headers, and a body of bytes
or a stream; it is sent elsewhere. The folder knows ``streams``, ``io`` and ``ground``.
"""
