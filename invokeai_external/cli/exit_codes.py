"""The exit codes of the command line; 0 is success."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "PROVIDER_FAILED", "WRONG_USAGE"]

PROVIDER_FAILED = 1
"""A provider or the network failed."""

WRONG_USAGE = 2
"""The command line, the settings or the request must change."""

INTERRUPTED = 130
"""Ctrl-C, SIGTERM or SIGHUP stopped it; the number is what shells use."""
