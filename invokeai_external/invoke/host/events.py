"""Handles Invoke's events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi_events.handlers.local import local_handler
from invokeai.app.services.events.events_common import register_events

__all__ = ["handled"]


@contextmanager
def handled(events: set[type[Any]], handle: Callable[[Any], Awaitable[None]]) -> Iterator[None]:
    """Handle Invoke's events of these types until the block ends."""
    # fastapi-events cannot unregister a handler. If its registry is missing, this fails before it registers any.
    registry = local_handler._registry
    register_events(events, handle)
    try:
        yield
    finally:
        for handlers in registry.values():
            if handle in handlers:
                handlers.remove(handle)
