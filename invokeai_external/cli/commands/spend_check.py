"""``spend check``: compares a provider's bill for a month with the spending record."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...misspellings import or_nearest
from ...spending.amounts import nano, shown_usd, usd
from ...spending.bills import BillCheck, check_bill
from ...spending.calendar_days import Calendar
from ...spending.rows import calendar_of
from .. import report
from ..common import settings
from ..remedies import command_line
from ..spending import open_record, parsed_day

__all__ = ["run"]

_CENT = 10_000_000
"""A bill is rounded to cents."""

_MOST_USD = 100_000_000


def run(provider: str, month: str, amount: str, *, as_json: bool, root: Path | None) -> None:
    """Print by how much the bill differs from the record, and what may explain it."""
    if not re.fullmatch(r"20\d{2}-\d{2}", month):
        raise report.UsageError(f"{month!r} is not a month.", remedy="Write it as 2026-11.")
    first, billed = parsed_day(month), _amount(amount)
    current = settings(root)
    today = Calendar(current.budgets.timezone).day_of(time.time())
    if first > today:
        raise report.UsageError(f"{month} has not begun.", remedy=f"Write a month up to {today:%Y-%m}.")
    with open_record(current) as record, record.reading() as db:
        found, zone = check_bill(db, provider, first, billed), calendar_of(db).zone
    if provider not in {*found.providers, *current.providers}:
        names = found.providers or tuple(current.providers)
        raise report.UsageError(
            f"No call to {provider!r} was recorded.",
            remedy=f"{or_nearest(provider, names)}Write one of these: {', '.join(names)}",
        )
    if as_json:
        report.print_json(_object(found, provider, month))
        return
    report.show(f"{provider}, {month}: the bill is {shown_usd(billed)}, and the record has {_charged(found)}.")
    if abs(found.difference) < _CENT:
        report.show("They agree to the cent.")
        return
    more = "more" if found.difference > 0 else "less"
    report.show(f"The bill is {shown_usd(abs(found.difference))} {more}. This may explain it:")
    for reason in _reasons(found, month, zone or "this machine", root):
        report.show(f"- {reason}")


def _amount(text: str) -> int:
    try:
        amount = float(text.removeprefix("$"))
    except ValueError:
        amount = -1
    found = nano(amount) if 0 <= amount <= _MOST_USD else None
    if found is None:
        raise report.UsageError(f"{text!r} is not an amount.", remedy="Write it in USD, as 41.20.")
    return found


def _charged(found: BillCheck) -> str:
    own = f"{shown_usd(found.recorded.charged)} as charged"
    if not found.imported.images:
        return own
    return f"{own} and {shown_usd(found.imported.charged)} of images that were made earlier"


def _reasons(found: BillCheck, month: str, zone: str, root: Path | None) -> Iterator[str]:
    if found.recorded.unconfirmed:
        yield (
            f"Calls may have been charged, up to {shown_usd(found.recorded.unconfirmed)}. To see them, run: "
            f"{command_line('spend', 'confirm', root=root)}"
        )
    if found.recorded.reserved:
        yield f"Calls are in progress, up to {shown_usd(found.recorded.reserved)}."
    if found.unknown_cost:
        yield f"Of {found.unknown_cost} imported images the cost is unknown."
    if found.difference > 0 and (found.first_day or "9999") > f"{month}-01":
        since = f"begins on {found.first_day}" if found.first_day else "is empty"
        yield (
            f"The record {since}. To add images that were made earlier, run: "
            f"{command_line('spend', 'import', 'FOLDER', root=root)}"
        )
    if found.by_utc not in (None, found.recorded.charged + found.imported.charged):
        yield (
            f"The record counts the days of {zone}, and the provider may count others: by those of UTC, the month "
            f"comes to {shown_usd(found.by_utc or 0)}."
        )
    if found.recorded.charged:
        yield "Most costs are calculated from the prices in the catalogue, which the provider may have changed."
    if found.difference > 0:
        yield "Other programs and machines use the same key, or another root folder: they have another record."
        yield "The bill has taxes, or other services of the provider."
    else:
        yield "The bill has credits or free usage, or is not final."


def _object(found: BillCheck, provider: str, month: str) -> dict[str, Any]:
    return {
        "provider": provider,
        "month": month,
        "billed_usd": usd(found.billed),
        "charged_usd": usd(found.recorded.charged),
        "imported_usd": usd(found.imported.charged),
        "difference_usd": usd(found.difference),
        "unconfirmed_usd": usd(found.recorded.unconfirmed),
        "in_progress_usd": usd(found.recorded.reserved),
        "imported_of_unknown_cost": found.unknown_cost,
        "charged_by_utc_usd": usd(found.by_utc),
        "record_begins": found.first_day,
    }
