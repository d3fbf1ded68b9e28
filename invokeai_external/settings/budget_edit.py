"""Changes single limits in ``invokeai_external.yaml``, and keeps every other line."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from ..errors import InvalidRequestError, SettingsError
from ..root_folder import USER_FILE
from ..spending.limits import Budget, Budgets
from .user_file import read_user_file
from .yaml_edit import Change, edit_file, one_line

__all__ = ["place_of_limit", "set_limit"]

_FIELDS = {"day": "day_usd", "month": "month_usd"}

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
        until: The last day on which it holds, in the place of the limit that stays; None for ever.

    Raises:
        InvalidRequestError: This is not the name of a limit, or it cannot be set for a while.
        SettingsError: The file, or what would be written, is not valid; or more than the lines of the limit would have
            to change, and then the remedy has the lines to write.
    """
    place = place_of_limit(name)
    if until and len(place) == 1:
        raise InvalidRequestError(f"{name} cannot be set for a while.")
    return edit_file(
        root / USER_FILE,
        lambda file: _changes(read_user_file(file.path, file.text).budgets, place, usd, until),
        by_hand=_by_hand(place, usd),
        check=_check,
    )


def _by_hand(place: tuple[str, ...], usd: float | None) -> str:
    where = ".".join(("budgets", *place))
    return f"Remove {where} from it." if usd is None else f"Set {where} to {one_line(_number(usd))} in it."


def _changes(
    budgets: Budgets, place: tuple[str, ...], usd: float | None, until: datetime.date | None
) -> Iterator[Change]:
    *above, field = place
    budget = _budget_at(budgets, above)
    if until and budget and budget.raised and budget.raised.until == until:
        raised = budget.raised.model_dump(mode="json", exclude_none=True)
    else:
        raised = {}
    if usd is not None and until:
        yield ("budgets", *above, "raised"), one_line({**raised, field: _number(usd), "until": until})
    elif usd is not None:
        yield ("budgets", *place), one_line(_number(usd))
    elif until:
        yield ("budgets", *above, "raised"), None
    else:
        yield ("budgets", *_emptied(budgets, place)), None


def _budget_at(budgets: Budgets, above: list[str]) -> Budget | None:
    if not above:
        return None
    if above[0] == "total":
        return budgets.total
    found: dict[str, Budget] = getattr(budgets, above[0])
    return found.get(above[1])


def _emptied(budgets: Budgets, place: tuple[str, ...]) -> tuple[str, ...]:
    """The largest entry that would be empty without a value: an empty mapping is not valid."""
    *above, field = place
    fields = _budget_at(budgets, above)
    if fields is None or fields.model_fields_set - {field}:
        return place
    if len(above) == 1 or len(getattr(budgets, above[0])) > 1:
        return tuple(above)
    return (above[0],)


def _number(usd: float) -> int | float:
    return int(usd) if usd == int(usd) else usd


def _check(path: Path, text: str) -> None:
    try:
        read_user_file(path, text)
    except SettingsError as error:
        raise error.replace(remedy="Nothing was written. Correct what you specified, then try again.") from None
