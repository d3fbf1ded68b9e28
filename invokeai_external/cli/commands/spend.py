"""``spend``: prints what images have cost, by day, model, provider, user, board or tag."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...spending.amounts import shown_usd, usd
from ...spending.calendar_days import Calendar
from ...spending.reports import By, Total, Waiting, sum_of, totals, waiting
from ...spending.rows import calendar_of
from .. import report
from ..common import settings
from ..remedies import command_line
from ..spending import exact_usd, open_record, parsed_day, print_csv, record_file, total_object, up_to
from ..terminal import print_table

__all__ = ["COLUMNS", "run"]

COLUMNS = (
    *("kind", "by", "id", "name", "calls", "images", "charged_usd", "unconfirmed_usd", "in_progress_usd"),
    *("expected_usd", "compared_usd"),
)
"""The columns of ``--csv``. Programs depend on them: new ones come last."""

_BAR = 24
"""The columns of the longest bar."""

_NO_CALLS = Waiting((), 0, 0)


@dataclass(frozen=True, slots=True)
class _Report:
    """What ``spend`` shows.

    Attributes:
        path: The record.
        by: What the totals are grouped by.
        since: Their first day.
        paid: What calls to providers come to.
        imported: What images come to that were made earlier.
        sandbox: What calls to the sandbox come to, which cost nothing.
        unconfirmed: The calls of all days that may have been charged.
        in_progress: Those that are in progress.
    """

    path: Path
    by: By
    since: datetime.date
    paid: Sequence[Total] = ()
    imported: Sequence[Total] = ()
    sandbox: Sequence[Total] = ()
    unconfirmed: Waiting = _NO_CALLS
    in_progress: Waiting = _NO_CALLS


def run(*, by: By, since: str | None, as_json: bool, as_csv: bool, root: Path | None) -> None:
    """Print the totals; without a record, that nothing was recorded."""
    if as_json and as_csv:
        raise report.UsageError("--json and --csv cannot be combined.", remedy="Use one of them.")
    found = _read(by, parsed_day(since) if since else None, root)
    if as_csv:
        print_csv(COLUMNS, list(_rows(found)))
    elif as_json:
        report.print_json(
            {
                "record": str(found.path),
                "by": found.by,
                "since": found.since.isoformat(),
                "totals": [total_object(total) for total in found.paid],
                "total": total_object(sum_of(found.paid)),
                "unconfirmed": _waiting_object(found.unconfirmed),
                "in_progress": _waiting_object(found.in_progress),
                "imported": [total_object(total) for total in found.imported],
                "sandbox": [total_object(total) for total in found.sandbox],
            }
        )
    else:
        _show(found, root)


def _read(by: By, since: datetime.date | None, root: Path | None) -> _Report:
    current = settings(root)
    path = record_file(current)
    if not path.exists():
        today = Calendar(current.budgets.timezone).day_of(time.time())
        return _Report(path, by, since or today.replace(day=1))
    with open_record(current) as record, record.reading() as db:
        first = since or calendar_of(db).day_of(time.time()).replace(day=1)
        return _Report(
            path,
            by,
            first,
            paid=totals(db, by, since=first),
            imported=totals(db, by, since=first, kind="imported"),
            sandbox=totals(db, by, since=first, kind="sandbox"),
            unconfirmed=waiting(db, "unconfirmed"),
            in_progress=waiting(db, "in progress"),
        )


def _rows(found: _Report) -> Iterator[dict[str, object]]:
    for kind, all_totals in (("paid", found.paid), ("imported", found.imported), ("sandbox", found.sandbox)):
        for total in all_totals:
            amounts = (total.charged, total.unconfirmed, total.reserved, total.expected, total.compared)
            first = (kind, found.by, total.who, total.name, total.calls, total.images)
            yield dict(zip(COLUMNS, (*first, *map(exact_usd, amounts)), strict=True))


def _waiting_object(found: Waiting) -> dict[str, object]:
    return {
        "calls": len(found.calls),
        "failed": _failed(found),
        "at_most_usd": usd(found.at_most),
        "of_unknown_price": found.unknown,
    }


def _failed(found: Waiting) -> int:
    """How many calls failed; one that you cancelled did not."""
    return sum(call.end.error not in (None, "cancelled") for call in found.calls)


def _show(found: _Report, root: Path | None) -> None:
    if not found.path.exists():
        report.show(f"Nothing was recorded yet: there is no file {found.path}.")
        return
    report.show(f"Spent since {found.since}, as {found.path} has it:")
    total = sum_of(found.paid)
    most = max((_all_of(each) for each in found.paid), default=0)
    if found.paid:
        lines = [_cells(found.by, each, most) for each in found.paid]
        print_table(lines if len(lines) == 1 else [*lines, _cells(found.by, total, 0, name="total")])
    else:
        report.show("Nothing.")
    for remark in _remarks(found, total, root):
        report.show(remark)


def _cells(by: By, total: Total, most: int, *, name: str | None = None) -> dict[str, str]:
    return {
        by.capitalize(): name or total.name or f"no {by}",
        "Images": str(total.images),
        "Calls": str(total.calls),
        "Charged": shown_usd(total.charged),
        "May have been charged": _or_nothing(total.unconfirmed),
        "In progress": _or_nothing(total.reserved),
        "Estimates": _off(total),
        "": _bar(total, most),
    }


def _or_nothing(amount: int) -> str:
    return f"up to {shown_usd(amount)}" if amount else "-"


def _off(total: Total) -> str:
    """How far the estimates were off, of the calls that had one."""
    if not total.expected:
        return "-"
    return f"{(total.compared - total.expected) / total.expected:+.0%}".replace("-0%", "+0%")


def _all_of(total: Total) -> int:
    return total.charged + total.unconfirmed + total.reserved


def _bar(total: Total, most: int) -> str:
    if most == 0:
        return ""
    charged, other = round(_BAR * total.charged / most), round(_BAR * _all_of(total) / most)
    full, light = _BLOCKS if _can_show("".join(_BLOCKS)) else ("#", "-")
    return full * charged + light * (other - charged)


_BLOCKS = ("█", "░")


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _remarks(found: _Report, total: Total, root: Path | None) -> Iterator[str]:
    if (waits := found.unconfirmed).calls:
        failed = f", {count} of which failed" if (count := _failed(waits)) else ""
        yield (
            f"May have been charged, of all days: {_counted(len(waits.calls), 'call')}{failed}; "
            f"{up_to(waits.at_most, waits.unknown)}. To settle them, run: "
            f"{command_line('spend', 'confirm', root=root)}"
        )
    if (waits := found.in_progress).calls:
        yield f"In progress: {_counted(len(waits.calls), 'call')}, {up_to(waits.at_most, waits.unknown)}."
    if total.expected:
        yield f"Estimates: {shown_usd(total.expected)} was expected for what cost {shown_usd(total.compared)}."
    if found.imported:
        earlier = sum_of(found.imported)
        yield (
            f"Imported, and not in the table: {_counted(earlier.images, 'image')} made earlier, "
            f"{shown_usd(earlier.charged)}. They count against no limit."
        )
    if found.sandbox:
        made = sum_of(found.sandbox)
        yield f"The sandbox's images cost nothing and are not in the table: {made.images}."


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
