"""Sets and removes single limits in ``invokeai_external.yaml``."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

from ..errors import InvalidRequestError
from ..spending.calendar_days import Calendar
from ..spending.limits import FIELDS
from .user_file import read_user_file
from .user_file_edit import edit_section, lines_of
from .yaml_file import YamlFile

__all__ = ["place_of_limit", "set_limit"]

_FIELDS: dict[str, str] = dict(FIELDS.items())

_SECTIONS = ("providers", "models", "users")


def place_of_limit(name: str) -> tuple[str, ...]:
    """Where a limit is in ``budgets:``, such as ``("users", "default", "day_usd")`` for ``users.default.day``.

    Raises:
        InvalidRequestError: This is not the name of a limit.
    """
    first, _, rest = name.partition(".")
    # The names of models and users may have dots.
    who, _, period = rest.rpartition(".")
    field = _FIELDS.get(period)
    if name in ("max_per_image", "max_per_image_usd"):
        return ("max_per_image_usd",)
    if first == "total" and field and not who:
        return ("total", field)
    if first in _SECTIONS and field and who:
        return (first, who, field)
    raise InvalidRequestError(
        f"{name!r} is not the name of a limit.",
        remedy="Use a name such as total.day, total.month, providers.openai.month, users.default.day or max_per_image.",
    )


def set_limit(root: Path, name: str, usd: float | None, *, until: datetime.date | None = None) -> Path:
    """Set a limit, or remove it; returns the file.

    Args:
        root: The folder of the file.
        name: The limit, such as ``total.day``.
        usd: The most in USD; None removes the limit.
        until: The last day on which it holds, in the place of the limit that stays; None for ever, which also ends what
            held in its place.

    Raises:
        InvalidRequestError: This is not the name of a limit, or it cannot be set for a while.
        SettingsError: The file, or what would be written, is not valid; or more than the lines of the limit would have
            to change, and then the remedy has the lines to write.
    """
    place = place_of_limit(name)
    if until and len(place) == 1:
        raise InvalidRequestError(
            f"{name} cannot be set for a while.", remedy="Set it without a day, and set it back later."
        )

    def changed(file: YamlFile, before: dict[str, Any]) -> dict[str, Any]:
        budgets = read_user_file(file.path, file.text).budgets
        return _with_limit(before, place, usd, until, Calendar(budgets.timezone).day_of(time.time()))

    return edit_section(root, "budgets", changed, by_hand=_by_hand(name, place, usd, until))


def _by_hand(name: str, place: tuple[str, ...], usd: float | None, until: datetime.date | None) -> str:
    if usd is None:
        return f"Remove {'.'.join(('budgets', *place))} from it."
    lines = lines_of("budgets", _with_limit({}, place, usd, until, datetime.date.min))
    return f"For {name}, write these lines into it:\n\n{lines}"


def _with_limit(
    after: dict[str, Any],
    place: tuple[str, ...],
    usd: float | None,
    until: datetime.date | None,
    today: datetime.date,
) -> dict[str, Any]:
    """The ``budgets:`` with a limit set or removed, without what is empty then; they are changed."""
    *above, field = place
    budgets = [after]
    for step in above:
        budgets[-1][step] = budgets[-1].get(step) or {}
        budgets.append(budgets[-1][step])
    budget = budgets[-1]
    raised = dict(budget.pop("raised", None) or {}) if above else {}
    last_day = raised.pop("until", None)
    raised.pop(field, None)
    if until is None:
        budget[field] = None if usd is None else _number(usd)
    elif usd is not None:
        if last_day and last_day < today:
            raised = {}
        if raised and last_day != until:
            raise InvalidRequestError(
                f"The other limit of {'.'.join(above)} is raised until {last_day}, and both end on the same day.",
                remedy=f"Set {last_day} as the last day of both, or set the other limit first.",
            )
        raised[field], last_day = _number(usd), until
    if budget.get(field, ...) is None:
        del budget[field]
    if raised:
        budget["raised"] = {**raised, "until": last_day}
    for outer, step, inner in reversed(list(zip(budgets, above, budgets[1:], strict=False))):
        if not inner:
            del outer[step]
    return after


def _number(usd: float) -> int | float:
    return int(usd) if usd == int(usd) else usd
