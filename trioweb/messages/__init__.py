"""What users hold: requests, responses, bodies, forms, uploads, WebSockets, and the limits of all of them.

This folder alone decides what these objects promise to users. A response is data: status, headers, and a body of bytes
or a stream; it is sent elsewhere. It knows ``streams``, ``io`` and ``ground``.
"""
