"""Reads the spending record: what has been spent by day, model or user, what today comes to, and the single calls."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from .calendar_days import Period
from .limits import Amounts, Budgets, Limit, Scope, limits_of
from .recorded_call import RecordedCall
from .rows import amounts_since, calendar_of, call_with, row_of
from .tables import checked, text, whole

__all__ = [
    "By",
    "Kind",
    "Spent",
    "SpentSoFar",
    "Total",
    "Unconfirmed",
    "Waiting",
    "call_of",
    "failed_on",
    "latest_calls",
    "spent_so_far",
    "sum_of",
    "totals",
    "unconfirmed",
    "waiting",
]

By = Literal["day", "model", "provider", "user", "board", "tag"]
"""What totals may be grouped by."""

Kind = Literal["paid", "sandbox", "imported"]
"""Which calls: those to a provider, those to the sandbox, or those read from images that were made earlier. Only the
first count against limits."""

_PREFIXES: dict[Kind, str] = {"paid": "", "sandbox": "sandbox ", "imported": "imported "}

_OF_SUMS = ("calls", "images", "charged", "unconfirmed", "reserved", "expected", "compared")

_OF_CALLS = """
count(*), sum(images), sum(iif(state = 'charged', cost, 0)), sum(iif(state = 'unconfirmed', ifnull(at_most, 0), 0)),
sum(iif(owner IS NOT NULL, ifnull(at_most, 0), 0)),
sum(iif(state = 'charged' AND cost_from IS NOT NULL, ifnull(expected, 0), 0)),
sum(iif(state = 'charged' AND cost_from IS NOT NULL AND expected IS NOT NULL, cost, 0))
"""
"""The columns of ``sums``, from single calls."""

_DAY_US = 86_400_000_000
"""The microseconds of a day."""

_LARGEST = 2**63 - 1
"""The largest number in SQLite."""

_GROUPS: dict[By, str] = {
    "day": "day",
    "model": "provider || '/' || model",
    "provider": "provider",
    "user": "user",
    "board": "board_id",
    "tag": "tag",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What calls come to. Amounts are in nano-dollars.

    Attributes:
        who: What they have in common: the day, the model's reference, the id of the board and so on; None for the
            calls without a user, a board or a tag, and for the sum of all.
        name: What it is called: the newest name of the board, else ``who``.
        calls: How many they are, those that made no image too.
        images: How many images they made.
        charged: What was charged.
        unconfirmed: What may have been charged, at the most that it can be, as far as that is known.
        reserved: What calls in progress may cost at most, as far as that is known.
        expected: What the charged ones were expected to cost, as far as they had an estimate.
        compared: What those with an estimate did cost.
    """

    who: str | None
    name: str | None
    calls: int = 0
    images: int = 0
    charged: int = 0
    unconfirmed: int = 0
    reserved: int = 0
    expected: int = 0
    compared: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What counts in a period.

    Attributes:
        first_day: Its first day.
        amounts: What counts.
        limit: The limit on it, if there is one.
        resets_at: When the period is over.
    """

    first_day: datetime.date
    amounts: Amounts
    limit: Limit | None
    resets_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class SpentSoFar:
    """What today and this month come to."""

    today: Spent
    month: Spent


@dataclass(frozen=True, slots=True)
class Waiting:
    """Calls whose cost is not known yet.

    Attributes:
        calls: The calls, newest first.
        at_most: What they can cost together, in nano-dollars, as far as that is known.
        unknown: Of how many of them it is not known.
    """

    calls: tuple[RecordedCall, ...]
    at_most: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """What the calls come to that may have been charged.

    Attributes:
        calls: How many they are.
        at_most: What they can cost together, in nano-dollars, as far as that is known.
        unknown: Of how many of them it is not known.
        last: The highest of their numbers; None if there are no such calls.
    """

    calls: int
    at_most: int
    unknown: int
    last: int | None


def totals(
    db: sqlite3.Connection,
    by: By,
    *,
    since: datetime.date,
    until: datetime.date = datetime.date.max,
    user: str | None = None,
    kind: Kind = "paid",
) -> tuple[Total, ...]:
    """What calls come to, grouped: days in their order, all others from the dearest on.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        by: What to group by.
        since: The first day to count.
        until: The last one.
        user: Only the calls of this user in Invoke.
        kind: Which calls.
    """
    days = (since.isoformat(), until.isoformat())
    if user is not None and by != "user":
        found = _from_calls(db, _GROUPS[by], since, until, user, kind)
    else:
        found = _from_sums(db, by, days, kind)
        if user is not None:
            found = [total for total in found if total.who == user]
        elif by in ("user", "board", "tag"):
            found += _others(sum_of(_from_sums(db, "day", days, kind)), sum_of(found))
    if by == "board":
        found = [_named(db, total) for total in found]
    if by != "day":
        found.sort(key=lambda total: (-_weight(total), total.who or ""))
    return tuple(found)


def sum_of(found: Iterable[Total]) -> Total:
    """What totals come to together."""
    listed = tuple(found)
    return Total(who=None, name=None, **{name: sum(getattr(total, name) for total in listed) for name in _OF_SUMS})


def spent_so_far(db: sqlite3.Connection, budgets: Budgets, now: float, *, user: str | None = None) -> SpentSoFar:
    """What today and this month come to, with the limits on it.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        budgets: The limits.
        now: The time, in seconds since the epoch.
        user: Only what this user in Invoke has spent, with the limits of this user.
    """
    calendar = calendar_of(db)
    today = calendar.day_of(now)
    scope: Scope = "total" if user is None else "user"
    limits = {
        limit.period: limit
        for limit in limits_of(budgets, provider="", model="", user=user, today=today)
        if limit.scope == scope
    }

    def spent(period: Period) -> Spent:
        first = calendar.first_day(period, today)
        amounts = amounts_since(db, scope, user or "", first.isoformat())
        return Spent(first, amounts, limits.get(period), calendar.end_of(period, today))

    return SpentSoFar(spent("day"), spent("month"))


def latest_calls(
    db: sqlite3.Connection,
    count: int,
    *,
    before: int | None = None,
    user: str | None = None,
    kind: Kind | None = None,
    error: str | None = None,
) -> tuple[RecordedCall, ...]:
    """The newest calls, newest first.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        count: At most how many.
        before: Only calls older than the one with this number: the last one of the page before.
        user: Only the calls of this user in Invoke.
        kind: Which calls; None for all.
        error: Only those that ended with the error of this code.
    """
    where, values = _filters(user, kind)
    if error is not None:
        where.append("error = ?")
        values.append(error)
    if before is not None:
        where.append("(started_at, id) < (SELECT started_at, id FROM calls WHERE id = ?)")
        values.append(before)
    return _calls(db, where, values, count)


def waiting(
    db: sqlite3.Connection, state: Literal["unconfirmed", "in progress"], *, user: str | None = None
) -> Waiting:
    """The calls to a provider that may have been charged, or that are in progress, of all days.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        state: Which of the two.
        user: Only the calls of this user in Invoke.
    """
    where, values = _filters(user, "paid")
    # These indexes hold only the few calls that are asked for; by itself, SQLite would choose the one by time.
    index, condition = (
        ("unconfirmed_calls", "state = 'unconfirmed'")
        if state == "unconfirmed"
        else ("open_calls", "owner IS NOT NULL")
    )
    rows = db.execute(f"SELECT * FROM calls INDEXED BY {index} WHERE {' AND '.join([condition, *where])}", values)
    found = sorted(map(row_of, rows), key=lambda call: (call.started_at, call.id), reverse=True)
    amounts = [call.call.at_most for call in found]
    return Waiting(tuple(found), sum(amount or 0 for amount in amounts), amounts.count(None))


def unconfirmed(db: sqlite3.Connection, *, user: str | None = None) -> Unconfirmed:
    """What the calls to a provider come to that may have been charged, of all days, without reading each of them.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        user: Only the calls of this user in Invoke.
    """
    where, values = _filters(user, "paid")
    condition = " AND ".join(["state = 'unconfirmed'", *where])
    columns = "count(*), sum(at_most), count(*) - count(at_most), max(id)"
    found = db.execute(f"SELECT {columns} FROM calls INDEXED BY unconfirmed_calls WHERE {condition}", values)
    calls, at_most, unknown, last = found.fetchone()
    return Unconfirmed(calls, whole(at_most), unknown, last)


def failed_on(db: sqlite3.Connection, day: datetime.date, error: str, *, user: str | None = None) -> tuple[int, int]:
    """How many calls of a day ended with the error of a code, and the number of the last one; 0 if there are no such
    calls.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        day: The day.
        error: The code.
        user: Only the calls of this user in Invoke.
    """
    where, values = _filters(user, None)
    condition = " AND ".join([*where, "started_at >= ?", "day = ?", "error = ?"])
    found = db.execute(
        f"SELECT count(*), coalesce(max(id), 0) FROM calls WHERE {condition}",
        (*values, _not_after(day), day.isoformat(), error),
    )
    count, last = found.fetchone()
    return count, last


def call_of(db: sqlite3.Connection, number: int) -> RecordedCall | None:
    """The call with a number; None if there is no such call, or if it was so long ago that only sums are kept."""
    return call_with(db, number) if 0 < number <= _LARGEST else None


def _filters(user: str | None, kind: Kind | None) -> tuple[list[str], list[str | int]]:
    where: list[str] = []
    values: list[str | int] = []
    if user is not None:
        where.append("user = ?")
        values.append(user)
    if kind is not None:
        where += [f"sandbox = {int(kind == 'sandbox')}", f"imported = {int(kind == 'imported')}"]
    return where, values


def _calls(db: sqlite3.Connection, where: list[str], values: list[str | int], count: int) -> tuple[RecordedCall, ...]:
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    rows = db.execute(f"SELECT * FROM calls {condition} ORDER BY started_at DESC, id DESC LIMIT ?", (*values, count))
    return tuple(row_of(row) for row in rows)


def _from_sums(db: sqlite3.Connection, by: By, days: tuple[str, str], kind: Kind) -> list[Total]:
    columns = ", ".join(f"sum({name})" for name in _OF_SUMS)
    scope, group = ("total", "day") if by == "day" else (by, "who")
    where = "scope = ? AND day BETWEEN ? AND ?"
    rows = db.execute(
        f"SELECT {group}, {columns} FROM sums WHERE {where} GROUP BY {group} ORDER BY {group}",
        (f"{_PREFIXES[kind]}{scope}", *days),
    )
    return [_total(*row) for row in rows]


def _from_calls(
    db: sqlite3.Connection, group: str, since: datetime.date, until: datetime.date, user: str, kind: Kind
) -> list[Total]:
    where, values = _filters(user, kind)
    condition = " AND ".join([*where, "started_at >= ?", "day BETWEEN ? AND ?"])
    rows = db.execute(
        f"SELECT {group} AS who, {_OF_CALLS} FROM calls WHERE {condition} GROUP BY who ORDER BY who",
        (*values, _not_after(since), since.isoformat(), until.isoformat()),
    )
    return [_total(*row) for row in rows]


def _not_after(day: datetime.date) -> int:
    """A time, in microseconds, that no call of a day or of a later one started before.

    The indexes are by time, and no day begins more than a day away from that of UTC.
    """
    return (day - datetime.date(1970, 1, 2)).days * _DAY_US


def _total(who: object, *numbers: object) -> Total:
    named = text(who)
    return Total(who=named, name=named, **dict(zip(_OF_SUMS, map(whole, numbers), strict=True)))


def _others(everything: Total, named: Total) -> list[Total]:
    """The calls without a user, a board or a tag, which have no separate sums."""
    rest = {name: getattr(everything, name) - getattr(named, name) for name in _OF_SUMS}
    return [Total(who=None, name=None, **rest)] if rest["calls"] else []


def _named(db: sqlite3.Connection, total: Total) -> Total:
    found = db.execute("SELECT * FROM boards WHERE id = ?", (total.who,)).fetchone()
    numbers = {name: getattr(total, name) for name in _OF_SUMS}
    return Total(who=total.who, name=checked("boards", found)["name"] if found else total.who, **numbers)


def _weight(total: Total) -> int:
    return total.charged + total.unconfirmed + total.reserved
