"""The runtime of the active plugin, for the nodes: Invoke creates and calls them, so nothing can be passed to them."""

from __future__ import annotations

from .runtime import Runtime

__all__ = ["runtime", "set_runtime"]

_runtime: Runtime | None = None


def set_runtime(active: Runtime | None) -> None:
    """Set the runtime that the nodes use; None when the plugin is removed."""
    global _runtime
    _runtime = active


def runtime() -> Runtime:
    """The runtime; the nodes exist only while there is one."""
    assert _runtime is not None
    return _runtime
