"""Invoke's log."""

from __future__ import annotations

import logging

__all__ = ["log"]

log = logging.getLogger("InvokeAI")
"""Invoke configures this logger before it loads node packs."""
