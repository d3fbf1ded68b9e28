"""What the commands about the spending record have in common: they open it, and show its days, amounts and calls."""

from __future__ import annotations

import csv
import datetime
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import InvalidRequestError, SpendingRecordError
from ..result import Usage
from ..settings.settings import Settings
from ..settings.spending import record_path
from ..spending.amounts import shown_usd, usd
from ..spending.calendar_days import Calendar
from ..spending.record import SpendingRecord
from ..spending.recorded_call import RecordedCall, State
from ..spending.reports import Total
from ..untrusted_text import printable
from . import report
from .common import make_own_folder

__all__ = [
    "STATES",
    "call_object",
    "exact_usd",
    "make_folder_of",
    "no_record",
    "open_record",
    "parsed_day",
    "print_csv",
    "record_file",
    "time_shown",
    "total_object",
    "up_to",
]

STATES: dict[State, str] = {
    "reserved": "in progress",
    "sent": "in progress",
    "charged": "charged",
    "not_charged": "not charged",
    "unconfirmed": "may have been charged",
}
"""The states of a call, as they are shown."""

_MOST_DIGITS = 9
"""A nano-dollar has so many behind the point."""

_FORMULA = re.compile(r"\s*[=+\-@]")
"""What a spreadsheet takes for a formula. Boards and users may have any name."""


def record_file(settings: Settings) -> Path:
    """The file of the spending record, which need not exist; raises InvalidRequestError if it is turned off."""
    path = record_path(settings)
    if path is None:
        raise InvalidRequestError(
            "Nothing is recorded: spending_record is off in invokeai_external.yaml.",
            remedy="To record what images cost from now on, delete that line.",
        )
    return path


def no_record(path: Path) -> InvalidRequestError:
    """The error of a command that needs a record."""
    return InvalidRequestError(
        f"There is no spending record {path}: no image was made with this root folder yet.",
        remedy="To read the record of Invoke, specify its root folder: --root INVOKE_ROOT",
    )


def make_folder_of(path: Path, root: Path | None) -> None:
    """Make the user's own folder for a new record; raises InvalidRequestError if its folder is another, and missing."""
    make_own_folder(root)
    if not path.parent.is_dir():
        raise InvalidRequestError(f"There is no folder {path.parent}.", remedy="Specify the root folder with --root.")


@contextmanager
def open_record(settings: Settings) -> Iterator[SpendingRecord]:
    """The record, in which the calls of programs that have ended are no longer in progress.

    Raises:
        InvalidRequestError: There is no record.
        SpendingRecordError: It cannot be used.
    """
    path = record_file(settings)
    if not path.exists():
        raise no_record(path)
    with closing(SpendingRecord(path)) as record:
        # What a record has is shown also while another program holds it.
        with suppress(SpendingRecordError):
            record.release_ended()
        yield record


def parsed_day(text: str) -> datetime.date:
    """A day as it is typed, such as 2026-11-29; of a month, such as 2026-11, the first."""
    try:
        return datetime.date.fromisoformat(f"{text}-01" if re.fullmatch(r"\d{4}-\d{2}", text) else text)
    except ValueError:
        raise report.UsageError(
            f"{text!r} is not a day.", remedy="Write it as 2026-11-29, or a month as 2026-11."
        ) from None


def time_shown(time: float, calendar: Calendar) -> str:
    """A time in the time zone of the record."""
    return calendar.time_of(time).strftime("%Y-%m-%d %H:%M:%S")


def up_to(at_most: int, unknown: int) -> str:
    """The most that calls can cost together, if that is not known of some of them."""
    known = f"up to {shown_usd(at_most)}"
    if not unknown:
        return known
    return f"{known}, and {unknown} of them at an unknown price" if at_most else "at an unknown price"


def exact_usd(amount: int | None) -> str:
    """An amount with all its digits; empty if it is unknown."""
    if amount is None:
        return ""
    sign, digits = "-" if amount < 0 else "", f"{abs(amount):0{_MOST_DIGITS + 1}}"
    return f"{sign}{digits[:-_MOST_DIGITS]}.{digits[-_MOST_DIGITS:]}"


def print_csv(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as CSV on standard output. No text acts on a terminal, or becomes a formula in a spreadsheet."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)


def _cell(value: object) -> str:
    text = "" if value is None else printable(str(value))
    return f"'{text}" if isinstance(value, str) and _FORMULA.match(text) else text


def total_object(total: Total) -> dict[str, Any]:
    """A total for ``--json``."""
    return {
        "id": total.who,
        "name": total.name,
        "calls": total.calls,
        "images": total.images,
        **{f"{name}_usd": usd(getattr(total, name)) for name in ("charged", "unconfirmed")},
        "in_progress_usd": usd(total.reserved),
        **{f"{name}_usd": usd(getattr(total, name)) for name in ("expected", "compared")},
    }


def call_object(call: RecordedCall, calendar: Calendar) -> dict[str, Any]:
    """A call for ``--json`` and ``--csv``."""
    plan, payer, end = call.call, call.payer, call.end
    return {
        "id": call.id,
        "state": end.state,
        "started_at": _iso(call.started_at, calendar),
        "settled_at": _iso(call.settled_at, calendar),
        "day": call.day,
        **{name: getattr(plan, name) for name in ("provider", "model", "tier", "size", "quality", "n")},
        "images": end.images,
        **{f"{name}_usd": usd(getattr(plan, name)) for name in ("expected", "at_most")},
        "basis": plan.basis,
        "prices_of": plan.prices_of,
        "cost_usd": usd(end.cost),
        "cost_from": end.cost_from,
        "computed_usd": usd(end.computed),
        **{name: getattr(end.usage, name, None) for name in Usage.__dataclass_fields__},
        **{name: getattr(end, name) for name in ("request_id", "error")},
        **{name: getattr(payer, name) for name in ("host", "user", "board_id", "board", "tag")},
        "sandbox": call.sandbox,
        "imported": call.imported,
        "prompt": plan.prompt,
        "image_hashes": list(end.image_hashes),
    }


def _iso(time: float | None, calendar: Calendar) -> str | None:
    return None if time is None else calendar.time_of(time).astimezone().isoformat(timespec="seconds")
