"""Days and months in a time zone, whose days may have 23 or 25 hours."""

from __future__ import annotations

import datetime
import zoneinfo
from dataclasses import dataclass
from typing import Literal

__all__ = ["Calendar", "Period", "is_time_zone"]

Period = Literal["day", "month"]
"""For how long a limit holds before it starts again."""


def is_time_zone(name: str) -> bool:
    """True if this computer knows a time zone by this name, such as ``Europe/Berlin``."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of a time zone.

    Attributes:
        zone: Its name; None for that of this computer.
    """

    zone: str | None = None

    def day_of(self, time: float) -> datetime.date:
        """The day of a time, in seconds since the epoch."""
        return self.time_of(time).date()

    def time_of(self, time: float) -> datetime.datetime:
        """A time, in seconds since the epoch, as the clocks of the time zone show it."""
        return datetime.datetime.fromtimestamp(time, self._zone)

    def first_day(self, period: Period, day: datetime.date) -> datetime.date:
        """The first day of the period that a day is in."""
        return day if period == "day" else day.replace(day=1)

    def end_of(self, period: Period, day: datetime.date) -> datetime.datetime:
        """When the period that a day is in is over, and its limits start again."""
        if period == "day":
            following = day + datetime.timedelta(days=1)
        else:
            following = (day.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)
        midnight = datetime.datetime(following.year, following.month, following.day, tzinfo=self._zone)
        return midnight if self._zone else midnight.astimezone()

    @property
    def _zone(self) -> zoneinfo.ZoneInfo | None:
        return zoneinfo.ZoneInfo(self.zone) if self.zone else None
