"""The spending record: what calls have cost and may cost, in a file that all programs of a root folder share.

A call is reserved at the most that it can cost before it is sent, and settled when its response is there. All limits
are checked in the transaction that reserves it, against sums that the same transaction keeps: no two programs can both
use what is left.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from ..errors import BudgetExceededError, SpendingRecordError
from .calendar_days import Calendar
from .copies import CopyFile, clear, replace_by
from .database import SOON_S, Database
from .imported import AlreadyRecorded, EarlierImage
from .limits import Amounts, Budgets, Limit, LimitExceededError, Refusal, limits_of
from .owners import Owner, ended_owners, is_running, owners_folder, owners_here, remove_if_ended
from .recorded_call import FORWARD, Payer, PlannedCall, RecordedCall, Settlement
from .rows import calendar_of, call_with, count_all, facts_of, insert, row_of, update, used_of
from .tables import checked, text

__all__ = ["Reservation", "SpendingRecord", "Warned"]

_KEPT_DAYS = 400
"""For how many days the single calls are kept; the sums of each day stay."""


_REFUSED = Settlement(state="not_charged", error=BudgetExceededError.code)


@dataclass(frozen=True, slots=True)
class Warned:
    """A limit of which so much is used that you are warned, once in each period: with the calls that are new."""

    limit: Limit
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Reservation:
    """Calls that may be made.

    Attributes:
        ids: The numbers of their rows, in the order of the calls.
        warned: The limits to warn about.
    """

    ids: tuple[int, ...]
    warned: tuple[Warned, ...] = ()


class SpendingRecord:
    """The record. It may be used by several threads.

    Args:
        path: The file; it and its folder are made if they are not there.
        clock: Seconds since the epoch.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._database = Database(path)
        self._lock = threading.Lock()
        self._owners = owners_folder(path)
        self._owner: Owner | None = None
        self._mine: dict[int, RecordedCall] = {}

    def reserve(
        self,
        calls: Sequence[PlannedCall],
        payer: Payer,
        budgets: Budgets,
        *,
        sandbox: bool = False,
        records_refusal: bool = True,
    ) -> Reservation:
        """Reserve what calls to one model may cost: all of them, unless it is refused, which is recorded, too.

        Args:
            calls: The calls.
            payer: Who pays for them.
            budgets: The limits.
            sandbox: True for calls to the sandbox, which count nowhere.
            records_refusal: False if the calls may be tried again.

        Raises:
            LimitExceededError: They could exceed a limit.
            SpendingRecordError: The record cannot be used.
        """
        # As the file holds it, in microseconds.
        calendar, now = Calendar(budgets.timezone), round(self._clock() * 1e6) / 1e6
        today, model = calendar.day_of(now), calls[0]
        limits: Sequence[Limit] = ()
        if not sandbox:
            limits = limits_of(budgets, provider=model.provider, model=model.reference, user=payer.user, today=today)
        could_cost = sum(call.at_most or 0 for call in calls)
        new = [
            RecordedCall(0, call, payer, Settlement(state="reserved"), now, None, today.isoformat(), sandbox)
            for call in calls
        ]
        with self._database.transaction(wait_s=SOON_S) as db:
            _use_zone(db, calendar)
            used = [(limit, used_of(db, limit, calendar, today)) for limit in limits]
            exceeded = next((one for one in used if one[1].used + could_cost > one[0].amount), None)
            if exceeded:
                for call in new if records_refusal else ():
                    insert(db, replace(call, end=_REFUSED, settled_at=now), None)
            else:
                owner = self._owner_name()
                ids = tuple(insert(db, call, owner) for call in new)
                warned = tuple(
                    Warned(limit, replace(amounts, reserved=amounts.reserved + could_cost))
                    for limit, amounts in used
                    if amounts.used + could_cost >= limit.warn_at * limit.amount
                    and _is_first_warning(db, limit, calendar.first_day(limit.period, today))
                )
        if exceeded:
            limit, amounts = exceeded
            raise LimitExceededError(Refusal(limit, amounts, could_cost, calendar.end_of(limit.period, today)))
        with self._lock:
            self._mine |= {number: replace(call, id=number) for number, call in zip(ids, new, strict=True)}
        return Reservation(ids, warned)

    def check(self, calls: Sequence[PlannedCall], payer: Payer, budgets: Budgets) -> None:
        """Raise what ``reserve`` would raise now for calls to one model; nothing is reserved, and no file is made."""
        calendar, model = Calendar(budgets.timezone), calls[0]
        today = calendar.day_of(self._clock())
        could_cost = sum(call.at_most or 0 for call in calls)
        for limit in limits_of(budgets, provider=model.provider, model=model.reference, user=payer.user, today=today):
            amounts = self.amounts(limit, budgets) if self.path.exists() else Amounts()
            if amounts.used + could_cost > limit.amount:
                raise LimitExceededError(Refusal(limit, amounts, could_cost, calendar.end_of(limit.period, today)))

    def sent(self, number: int) -> None:
        """Note that a call is sent now.

        Raises:
            SpendingRecordError: The record cannot be used; the call counts as before.
        """
        with self._database.transaction(is_durable=False, wait_s=SOON_S) as db:
            db.execute("UPDATE calls SET state = 'sent' WHERE id = ? AND state = 'reserved'", (number,))

    def settle(self, number: int, end: Settlement) -> None:
        """Note how a call of this program ended; what it cost counts in full, even if that is more than was reserved.

        Raises:
            SpendingRecordError: The record cannot be used; the call counts as before.
        """
        with self._lock:
            mine = self._mine.get(number)
            if self._owner:
                self._owner.hold()
        if mine is None:
            # The record was closed meanwhile: it may have been charged.
            return
        with self._database.transaction() as db:
            known = call_with(db, number)
            if known is None or (known.started_at, known.call) != (mine.started_at, mine.call):
                # A copy was put in the place of the record meanwhile, in which it is not.
                insert(db, replace(mine, end=end, settled_at=self._clock()), None)
            else:
                self._move(db, known, end)
        with self._lock:
            self._mine.pop(number, None)

    def confirm(self, numbers: Sequence[int], *, charged: bool) -> tuple[int, ...]:
        """Settle calls that may have been charged, as the user says; return the numbers of those that were such.

        Raises:
            SpendingRecordError: The record cannot be used.
        """
        done = []
        with self._database.transaction() as db:
            for number in numbers:
                known = call_with(db, number)
                if known and known.end.state == "unconfirmed":
                    cost = known.call.at_most if charged else None
                    self._move(db, known, replace(known.end, state="charged" if charged else "not_charged", cost=cost))
                    done.append(number)
        return tuple(done)

    def add_earlier(self, images: Iterable[EarlierImage]) -> tuple[EarlierImage, ...]:
        """Add images that were made before, each once; return those that were not in the record yet.

        Raises:
            SpendingRecordError: The record cannot be used.
        """
        with self._database.transaction() as db:
            known, calendar = AlreadyRecorded(db), calendar_of(db)
            (first,) = db.execute("SELECT min(day) FROM sums WHERE scope = 'total'").fetchone()
            # Of these days only the sums are left, in which an image may be.
            summed = (text(first) or "9", self._first_kept(calendar).isoformat())
            new = []
            for image in images:
                day = calendar.day_of(image.call.started_at).isoformat()
                if not summed[0] <= day < summed[1] and known.takes(image):
                    insert(db, replace(image.call, day=day), None)
                    new.append(image)
        return tuple(new)

    def release_ended(self) -> tuple[RecordedCall, ...]:
        """Note that calls in progress of programs that have ended may have been charged; return these calls.

        Raises:
            SpendingRecordError: The record cannot be used.
        """
        own = self._owner.name if self._owner else None
        with self._database.transaction(wait_s=SOON_S) as db:
            owners = [name for (name,) in db.execute("SELECT DISTINCT owner FROM calls WHERE owner IS NOT NULL")]
            ended = [name for name in owners if name != own and not is_running(self._owners, name)]
            rows = [row for name in ended for row in db.execute("SELECT * FROM calls WHERE owner = ?", (name,))]
            released = tuple(map(row_of, rows))
            for known in released:
                self._move(db, known, replace(known.end, state="unconfirmed"))
            self._forget_old_calls(db)
        for name in {*ended, *ended_owners(self._owners)}:
            remove_if_ended(self._owners, name)
        return released

    def in_progress_here(self, limit: Limit) -> int:
        """What calls of this program, which are in progress, may cost at most: their end could leave as much room.

        Raises:
            SpendingRecordError: The record cannot be used.
        """
        with self._database.transaction(writes=False) as db:
            query = "SELECT * FROM calls WHERE owner = ?"
            calls = [row_of(row) for name in owners_here() for row in db.execute(query, (name,))]
        return sum(one.call.at_most or 0 for one in calls if not one.sandbox and _is_subject_to(one, limit))

    def amounts(self, limit: Limit, budgets: Budgets) -> Amounts:
        """What counts against a limit now.

        Raises:
            SpendingRecordError: The record cannot be used.
        """
        calendar = Calendar(budgets.timezone)
        with self._database.transaction() as db:
            _use_zone(db, calendar)
            return used_of(db, limit, calendar, calendar.day_of(self._clock()))

    def restore(self, copy: CopyFile) -> int:
        """Put a copy in the place of what it holds; return how many calls that are.

        Raises:
            SpendingRecordError: The record cannot be used; nothing was changed.
        """
        with self._database.transaction() as db:
            return replace_by(db, copy)

    def delete(self) -> int:
        """Delete everything but the calls in progress; return how many calls that were.

        Raises:
            SpendingRecordError: The record cannot be used; nothing was changed.
        """
        with self._database.transaction() as db:
            deleted = clear(db)
        self._database.compact()
        return deleted

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database, to read what it holds at one moment.

        Raises:
            SpendingRecordError: The record cannot be used.
        """
        with self._database.transaction(writes=False, wait_s=SOON_S) as db:
            yield db

    @property
    def is_in_use(self) -> bool:
        """True from the first use until it is closed."""
        return self._owner is not None or self._database.is_open

    def close(self) -> None:
        """Close it. Calls that are still in progress may have been charged."""
        with suppress(SpendingRecordError):
            for number, mine in list(self._mine.items()):
                self.settle(number, replace(mine.end, state="unconfirmed"))
        self._database.close()
        with self._lock:
            if self._owner:
                self._owner.close()
                self._owner = None

    def _owner_name(self) -> str:
        """The name of this program, whose file is there now, even if somebody has deleted it."""
        with self._lock:
            if self._owner is None:
                self._owner = Owner(self._owners)
            else:
                self._owner.hold()
            return self._owner.name

    def _first_kept(self, calendar: Calendar) -> date:
        """The first day whose single calls are kept."""
        return calendar.day_of(self._clock()) - timedelta(days=_KEPT_DAYS)

    def _forget_old_calls(self, db: sqlite3.Connection) -> None:
        """Delete the single calls of old days, whose sums stay; not imported ones, which could be imported again."""
        first_kept = self._first_kept(calendar_of(db))
        # The index is by time, and no day ends more than a day away from that of UTC.
        latest = (first_kept - date(1970, 1, 1) + timedelta(days=1)) // timedelta(microseconds=1)
        db.execute(
            "DELETE FROM calls WHERE started_at < ? AND day < ? AND state IN ('charged', 'not_charged') "
            "AND imported = 0",
            (latest, first_kept.isoformat()),
        )

    def _move(self, db: sqlite3.Connection, known: RecordedCall, end: Settlement) -> None:
        """Give a call another state; nothing happens if that is not a step forward."""
        if end.state in FORWARD[known.end.state]:
            call = known.call if end.at_most is None else replace(known.call, at_most=end.at_most)
            update(db, known, replace(known, call=call, end=end, settled_at=self._clock()), None)


def _is_subject_to(one: RecordedCall, limit: Limit) -> bool:
    names = {"total": "", "provider": one.call.provider, "model": one.call.reference, "user": one.payer.user}
    return names[limit.scope] == limit.who


def _is_first_warning(db: sqlite3.Connection, limit: Limit, first_day: date) -> bool:
    values = (limit.name, limit.who, first_day.isoformat())
    return db.execute("INSERT OR IGNORE INTO warned VALUES (?, ?, ?)", values).rowcount > 0


def _use_zone(db: sqlite3.Connection, calendar: Calendar) -> None:
    """Count the calls by the days of another time zone, if the settings name another one than before."""
    if facts_of(db).get("zone") == calendar.zone:
        return
    db.execute("INSERT OR REPLACE INTO facts VALUES ('zone', ?)", (calendar.zone,))
    rows = (checked("calls", row) for row in db.execute("SELECT * FROM calls"))
    days = ((row, calendar.day_of(row["started_at"] / 1e6).isoformat()) for row in rows)
    moved = [(row_of(row), day) for row, day in days if row["day"] != day]
    db.executemany("UPDATE calls SET day = ? WHERE id = ?", [(day, call.id) for call, day in moved])
    count_all(db, [(call, -1) for call, _ in moved] + [(replace(call, day=day), 1) for call, day in moved])
