"""Today's date, for everything that depends on it. No other module reads it."""

from __future__ import annotations

import datetime

__all__ = ["utc_today"]


def utc_today() -> datetime.date:
    """Today's date in UTC, in every local time zone, since a model is retired everywhere at once."""
    return datetime.datetime.now(datetime.UTC).date()
