"""Which day it is, for everything that a day decides. The only place that asks."""

from __future__ import annotations

import datetime

__all__ = ["utc_today"]


def utc_today() -> datetime.date:
    """The day in UTC, whatever the time zone of this machine: models end for everybody at once."""
    return datetime.datetime.now(datetime.UTC).date()
