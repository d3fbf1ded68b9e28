"""Which keys the sandbox refuses, as each service refuses one that it does not know."""

from __future__ import annotations

__all__ = ["is_refused"]


def is_refused(key: str) -> bool:
    """True for a key that contains the word ``wrong`` or ``invalid``."""
    return any(word in key.lower() for word in ("wrong", "invalid"))
