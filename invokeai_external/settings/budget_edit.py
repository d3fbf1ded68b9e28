"""Changes single limits in ``invokeai_external.yaml``, and keeps every other line."""

from __future__ import annotations

import copy
import datetime
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import InvalidRequestError, SettingsError
from ..root_folder import USER_FILE
from ..spending.calendar_days import Calendar
from ..spending.limits import FIELDS
from .user_file import read_user_file
from .yaml_edit import Change, edit_file, edited, one_line
from .yaml_file import YamlFile, child_of

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

    def changes(file: YamlFile) -> Iterator[Change]:
        budgets = read_user_file(file.path, file.text).budgets
        today = Calendar(budgets.timezone).day_of(time.time())
        before = _plain(file.data.get("budgets"))
        after = _with_limit(before, place, usd, until, today)
        found = child_of(file.node, "budgets")
        return _differences(("budgets",), found and found[1], before, after, file.text)

    return edit_file(root / USER_FILE, changes, by_hand=_by_hand(name, place, usd, until), check=_check)


def _by_hand(name: str, place: tuple[str, ...], usd: float | None, until: datetime.date | None) -> str:
    if usd is None:
        return f"Remove {'.'.join(('budgets', *place))} from it."
    lines = edited("", _differences(("budgets",), None, {}, _with_limit({}, place, usd, until, datetime.date.min), ""))
    return f"For {name}, write these lines into it:\n\n{lines}"


def _plain(value: object) -> dict[str, Any]:
    """A mapping with the names as texts: YAML may read that of a user as a number."""
    found = value if isinstance(value, dict) else {}
    return {str(key): _plain(inner) if isinstance(inner, dict) else inner for key, inner in found.items()}


def _with_limit(
    before: Mapping[str, Any],
    place: tuple[str, ...],
    usd: float | None,
    until: datetime.date | None,
    today: datetime.date,
) -> dict[str, Any]:
    """The ``budgets:`` with a limit set or removed, without what is empty then."""
    after = copy.deepcopy(dict(before))
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


def _differences(
    place: Sequence[str], node: yaml.Node | None, before: Mapping[str, Any], after: Mapping[str, Any], text: str
) -> Iterator[Change]:
    """The changes that make one mapping of another; a mapping in braces is written as a whole."""
    if before == after:
        return
    if not after:
        yield place, None
    elif isinstance(node, yaml.MappingNode) and node.flow_style and "\n" not in _text_of(node, text):
        yield place, one_line(dict(after))
    else:
        for name in dict.fromkeys((*before, *after)):
            old, new = before.get(name), after.get(name)
            found = child_of(node, name)
            if isinstance(new, dict):
                yield from _differences((*place, name), found and found[1], _plain(old), new, text)
            elif old != new:
                yield (*place, name), None if new is None else one_line(new)


def _text_of(node: yaml.Node, text: str) -> str:
    return text[node.start_mark.index : node.end_mark.index]


def _number(usd: float) -> int | float:
    return int(usd) if usd == int(usd) else usd


def _check(path: Path, text: str) -> None:
    try:
        read_user_file(path, text)
    except SettingsError as error:
        meant = (error.hint or "").removesuffix("Correct that line, then try again.")
        remedy = meant or "Correct what you specified, then try again."
        raise error.replace(remedy=f"Nothing was written. {remedy}".strip()) from None
