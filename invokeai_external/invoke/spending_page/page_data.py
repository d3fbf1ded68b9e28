"""Reads the spending record and the limits for the page, and changes them, as far as the user may."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Literal

from ...errors import BudgetExceededError, SpendingRecordError
from ...root_folder import RESCUED_FOLDER
from ...settings.budget_edit import set_limit
from ...settings.settings import Settings
from ...settings.spending import LiveBudgets, record_path
from ...spending.calendar_days import Calendar
from ...spending.limits import Budgets
from ...spending.record import SpendingRecord
from ...spending.recorded_call import RecordedCall
from ...spending.reports import latest_calls, waiting
from ..gallery.fallback import count_images
from ..gallery.result_cache import KeptImages
from ..interrupted_calls import log_interrupted_calls
from .limit_list import limit_list
from .overview import chart, iso_time, overview, usual_seconds
from .viewer import Viewer

__all__ = ["Only", "PageData"]

Only = Literal["all", "unconfirmed", "refused"]
"""Which runs are listed."""

_AT_ONCE = 500
"""How many calls are settled in one transaction: other programs wait for it."""


class PageData:
    """The record and the limits of a root folder.

    Args:
        settings: Reads the settings as they are now; raises SettingsError.
        kept: The images that wait for a retry.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        kept: Callable[[], Sequence[KeptImages]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._kept, self._clock = settings, kept, clock
        self._budgets: LiveBudgets | None = None

    def budgets(self) -> Budgets:
        """The limits now; raises SettingsError."""
        self._budgets = self._budgets or LiveBudgets(self._settings())
        return self._budgets()

    def overview(self, viewer: Viewer) -> dict[str, Any]:
        """What a user has spent and what needs the user; raises SettingsError."""
        path = record_path(self._settings())
        shown: dict[str, Any] = {
            "viewer": {"name": viewer.name, "is_admin": viewer.is_admin},
            "record": {
                "is_on": path is not None,
                "message": None,
                "file": str(path) if path and viewer.is_admin else None,
            },
            "spent": None,
            "undelivered": self._undelivered(viewer),
            "kept": self._kept_for(viewer),
        }
        try:
            with self._reading() as record:
                if record:
                    # They may have been charged, and are no longer in progress.
                    log_interrupted_calls(self._settings())
                    with record.reading() as db:
                        shown["spent"] = overview(db, viewer, self.budgets(), self._clock())
        except SpendingRecordError as error:
            shown["record"]["message"] = error.message
        return shown

    def runs(self, viewer: Viewer, *, only: Only = "all", before: int | None = None, count: int) -> list[RecordedCall]:
        """The newest runs of those that a user sees; raises SettingsError or SpendingRecordError.

        Args:
            viewer: The user.
            only: Which.
            before: Only those that are older than this one.
            count: At most how many.
        """
        with self._reading() as record:
            if record is None:
                return []
            with record.reading() as db:
                if only == "all":
                    return list(latest_calls(db, count, before=before, user=viewer.only))
                if only == "refused":
                    return list(
                        latest_calls(db, count, before=before, user=viewer.only, error=BudgetExceededError.code)
                    )
                found = waiting(db, "unconfirmed", user=viewer.only).calls
        return [call for call in found if before is None or call.id < before][:count]

    def charts(self, viewer: Viewer, names: Mapping[str, str]) -> dict[str, Any] | None:
        """What the last days come to, with the names of models by their references; None without a record.

        Raises SettingsError or SpendingRecordError.
        """
        with self._reading() as record:
            if record is None:
                return None
            with record.reading() as db:
                return chart(db, viewer, names, self._clock())

    def usual_seconds(self) -> Mapping[str, float]:
        """How long calls usually take, by the reference of the model; nothing if the record cannot be read."""
        try:
            with self._reading() as record:
                if record is None:
                    return {}
                with record.reading() as db:
                    return usual_seconds(db)
        except SpendingRecordError:
            return {}

    def settle(
        self, viewer: Viewer, *, charged: bool, calls: Sequence[int] = (), up_to: int | None = None
    ) -> dict[str, Any]:
        """Settle calls that may have been charged, as far as a user may; raises SettingsError or SpendingRecordError.

        Args:
            viewer: The user.
            charged: True if they were charged.
            calls: Their numbers.
            up_to: All up to this number: those that the user has seen.
        """
        done: list[int] = []
        with self._reading() as record:
            if record is None:
                return {"settled": 0}
            with record.reading() as db:
                found = waiting(db, "unconfirmed", user=viewer.only).calls
            wanted = set(calls)
            numbers = sorted(
                call.id
                for call in found
                if viewer.may_settle(call) and (call.id in wanted or (up_to is not None and call.id <= up_to))
            )
            for start in range(0, len(numbers), _AT_ONCE):
                done += record.confirm(numbers[start : start + _AT_ONCE], charged=charged)
        return {"settled": len(done)}

    def limits(self, users: Sequence[str]) -> dict[str, Any]:
        """The limits, for an administrator; raises SettingsError."""
        budgets = self.budgets()
        return limit_list(budgets, users, Calendar(budgets.timezone).day_of(self._clock()))

    def set_limit(self, name: str, usd: float | None) -> None:
        """Set or remove a limit, as ``budget set`` does; raises InvalidRequestError or SettingsError."""
        set_limit(self._settings().root, name, usd)

    def _undelivered(self, viewer: Viewer) -> dict[str, Any] | None:
        """How many images the gallery could not save: those of this user, or all for an administrator."""
        count = count_images(self._settings().root, None if viewer.is_admin else viewer.id)
        return {"images": count, "folder": RESCUED_FOLDER} if count else None

    def _kept_for(self, viewer: Viewer) -> dict[str, Any] | None:
        """How many images wait for a retry, and until when at most: those of this user, or all for an administrator."""
        found = [kept for kept in self._kept() if viewer.is_admin or kept.destination.user == viewer.id]
        if not found:
            return None
        return {"images": sum(kept.images for kept in found), "until": iso_time(max(kept.until for kept in found))}

    @contextmanager
    def _reading(self) -> Iterator[SpendingRecord | None]:
        """The record, which is not made if it is not there."""
        path = record_path(self._settings())
        if path is None or not path.exists():
            yield None
            return
        with closing(SpendingRecord(path, clock=self._clock)) as record:
            yield record
