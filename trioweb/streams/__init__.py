"""Streams: from the generator that produces a body to the bytes that are sent; and the stream formats, for users.

This folder alone decides in which task a generator runs and is closed, what is buffered, and when a stream has ended
cleanly. It knows ``io`` and ``ground``.

A chunk's road: source -> ``producer`` -> ``channel`` (bounded) -> ``sender`` or ``direct`` -> ``Outbox``.
"""

from trioweb.streams.formats import csv_rows, file_chunks, json_lines, server_sent_events
from trioweb.streams.reader import EventReader

__all__ = ["EventReader", "csv_rows", "file_chunks", "json_lines", "server_sent_events"]
