"""Adapters to what others have made, each in a module that users import by its name; nothing else knows them.

A query's road: ``pool`` lends a connection -> psycopg's generator, driven by trio (``psycopg_connection``), or a worker
thread (``sqlite``) -> the connection is restored, and kept for the next, or closed.
"""
