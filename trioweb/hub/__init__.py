"""The hub: events from one publisher to many event streams, WebSockets and tasks, in one process or across workers.

This folder alone decides what a subscriber gets that was away or is slow. It knows ``messages``, ``streams`` and
``ground``, and nothing knows it: without this folder the rest is the same.

An event's road: ``Hub.publish`` -> ``Topic`` (its history) -> each ``Subscription`` -> a stream's channel, or a task.
``MemoryHub`` and ``RedisHub`` differ in where the events are numbered and kept.
"""

from __future__ import annotations

from trioweb.hub.engine import HubUnavailable
from trioweb.hub.entries import HubEvent
from trioweb.hub.hub import Hub, HubStats
from trioweb.hub.memory import MemoryHub
from trioweb.hub.redis import RedisHub
from trioweb.hub.subscription import SlowSubscriber, Subscription

__all__ = ["Hub", "HubEvent", "HubStats", "HubUnavailable", "MemoryHub", "RedisHub", "SlowSubscriber", "Subscription"]
