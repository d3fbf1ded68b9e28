"""``budget``: sets limits on what images may cost, and lists them with what is used."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...providers.registry import Registry
from ...root_folder import USER_FILE
from ...service.limits_to_move import limits_to_move
from ...settings.budget_edit import set_limit
from ...settings.settings import Settings, load_user_file
from ...settings.spending import record_path
from ...spending.amounts import nano, shown_usd, usd
from ...spending.calendar_days import Calendar
from ...spending.limits import Amounts, Budgets, Limit, every_limit
from ...untrusted_text import quoted
from .. import report
from ..common import existing_root, open_root
from ..parameters import MOST_USD
from ..remedies import command_line
from ..spending import open_record
from ..terminal import print_table

__all__ = ["list_all", "set_one"]


def set_one(name: str, amount: str, *, until: str | None, root: Path | None) -> None:
    """Set a limit, or remove it, and say what holds now."""
    folder = existing_root(root)
    most, last_day = _amount(amount), _day(until)
    if last_day and most is None:
        raise report.UsageError("A limit is not removed for a while.", remedy="Write a large amount in place of off.")
    before = load_user_file(folder).budgets
    today = _calendar_and_today(before)[1]
    if last_day and last_day < today:
        raise report.UsageError(f"--until {last_day} is over.", remedy=f"Write a day from {today} on.")
    path = set_limit(folder, name, most, until=last_day)
    if most is None and load_user_file(folder).budgets == before:
        report.say(f"There is no limit {name} in {path}")
    elif most is None:
        report.say(f"Removed the limit {name} from {path}")
    else:
        report.say(f"Saved {name}: {_shown(most)}{f' until {last_day}' if last_day else ''}, in {path}")
    _warn(load_user_file(folder))


def _amount(text: str) -> float | None:
    """An amount in USD; None for ``off``."""
    if text.strip().lower() == "off":
        return None
    try:
        amount = float(text.strip().removeprefix("$"))
    except ValueError:
        amount = -1
    if not 0 <= amount <= MOST_USD:
        raise report.UsageError(
            f"{quoted(text)} is not an amount.",
            remedy=f"Write an amount in USD from 0 to {MOST_USD:,}, such as 0.50, or off to remove the limit.",
        )
    return amount


def _day(text: str | None) -> datetime.date | None:
    try:
        return None if text is None else datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise report.UsageError(
            f"--until {quoted(text or '')} is not a day.", remedy="Write a day such as 2026-12-05."
        ) from None


def list_all(*, as_json: bool, root: Path | None) -> None:
    """Print the limits, and what of them is used."""
    folder = open_root(root)
    current = load_user_file(folder)
    budgets, path = current.budgets, record_path(current)
    calendar, today = _calendar_and_today(budgets)
    limits = every_limit(budgets, today)
    used = _used(current, limits)
    ends = [calendar.end_of(limit.period, today) for limit in limits]
    if as_json:
        report.print_json(
            {
                "limits": [_object(*row) for row in zip(limits, used, ends, strict=True)],
                "max_per_image_usd": budgets.max_per_image_usd,
                "unknown_price": budgets.unknown_price,
                "timezone": budgets.timezone,
                "settings_file": str(folder / USER_FILE),
                "spending_record": str(path) if path else None,
            }
        )
        return
    if not budgets.are_set:
        report.say(
            f"There are no limits. To set one, run: {command_line('budget', 'set', 'total.day', '5', root=root)}"
        )
        return
    rows = [_cells(*row) for row in zip(limits, used, ends, strict=True)]
    if budgets.max_per_image_usd is not None:
        rows.append(_row("max_per_image", _shown(budgets.max_per_image_usd)))
    print_table(rows)
    _warn(current)


def _calendar_and_today(budgets: Budgets) -> tuple[Calendar, datetime.date]:
    calendar = Calendar(budgets.timezone)
    return calendar, calendar.day_of(time.time())


def _used(current: Settings, limits: Sequence[Limit]) -> list[Amounts | None]:
    """What is used of each limit; None of one that each user has."""
    path = record_path(current)
    if path is None or not path.exists():
        return [None if _is_of_each(limit) else Amounts() for limit in limits]
    with open_record(current) as record:
        return [None if _is_of_each(limit) else record.amounts(limit, current.budgets) for limit in limits]


def _is_of_each(limit: Limit) -> bool:
    return limit.scope == "user" and not limit.who


def _object(limit: Limit, used: Amounts | None, end: datetime.datetime) -> dict[str, Any]:
    return {
        "name": limit.name,
        "limit_usd": usd(limit.amount),
        "until": str(limit.until) if limit.until else None,
        "used_usd": usd(used.used) if used else None,
        "unconfirmed_usd": usd(used.unconfirmed) if used else None,
        "in_progress_usd": usd(used.reserved) if used else None,
        "resets_at": end.isoformat(),
    }


def _cells(limit: Limit, used: Amounts | None, end: datetime.datetime) -> dict[str, str]:
    until = f" until {limit.until}" if limit.until else ""
    return _row(
        limit.name,
        shown_usd(limit.amount) + until,
        shown_usd(used.used) if used else "each user's own",
        shown_usd(used.reserved) if used and used.reserved else "",
        shown_usd(used.unconfirmed) if used and used.unconfirmed else "",
        f"{end:%Y-%m-%d %H:%M}",
    )


def _row(
    name: str, most: str, used: str = "", in_progress: str = "", may_be: str = "", end: str = ""
) -> dict[str, str]:
    return {
        "Limit": name,
        "Up to": most,
        "Used": used or "-",
        "In progress": in_progress or "-",
        "May have been charged": may_be or "-",
        "Starts again": end or "-",
    }


def _shown(amount: float) -> str:
    return shown_usd(nano(amount) or 0)


def _warn(current: Settings) -> None:
    report.notices(limits_to_move(current.budgets, Registry(current.catalog)))
