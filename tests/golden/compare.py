"""Golden files: what must stay as 0.1 had it, written down as JSON, and what differs from it now."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["check", "differences", "shape"]

FOLDER = Path(__file__).parent
REWRITE = "GOLDEN"
"""``GOLDEN=rewrite`` in the environment writes the files in place of comparing with them."""

_OR = " | "
_MAY_BE_NULL = {
    "cost_usd": "nothing | number",
    "estimated_cost_usd": "nothing | number",
    "hint": "nothing | text",
}
"""Fields that are null where something is not known, whether or not it happens to be so here."""


def check(name: str, now: Any, *, may_grow: bool) -> None:
    """Compare a value with the golden file of that name, or write the file if that is asked for.

    Args:
        name: The file's name, without its folder and extension.
        now: The value of today, of what JSON knows.
        may_grow: True if fields may be added; what is in the file must be there all the same.

    Raises:
        AssertionError: Something is missing or was changed; says each place.
    """
    path = FOLDER / f"{name}.json"
    if os.environ.get(REWRITE) == "rewrite":
        path.write_text(json.dumps(now, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    golden = json.loads(path.read_text(encoding="utf-8"))
    found = differences(golden, json.loads(json.dumps(now)), may_grow=may_grow)
    assert not found, "\n".join([f"{path.name} says otherwise; tests/golden/README.md says what to do:", *found])


def differences(golden: Any, now: Any, *, may_grow: bool, at: str = "") -> list[str]:
    """What is missing or changed, one line each; what was added as well, unless fields may be added."""
    if isinstance(golden, dict) and isinstance(now, dict):
        found = [f"{at}/{name}: is missing" for name in golden if name not in now]
        if not may_grow:
            found += [f"{at}/{name}: was added" for name in now if name not in golden]
        for name in golden.keys() & now.keys():
            found += differences(golden[name], now[name], may_grow=may_grow, at=f"{at}/{name}")
        return sorted(found)
    if isinstance(golden, list) and isinstance(now, list) and len(golden) == len(now):
        pairs = enumerate(zip(golden, now, strict=True))
        return [line for place, (a, b) in pairs for line in differences(a, b, may_grow=may_grow, at=f"{at}/{place}")]
    if may_grow and _is_allowed(golden, now):
        return []
    # Not by ==, for which True is 1.
    return [] if json.dumps(golden) == json.dumps(now) else [f"{at}: was {json.dumps(golden)}, is {json.dumps(now)}"]


def _is_allowed(golden: Any, now: Any) -> bool:
    """True for a list that was empty, and for a type that is one of those that the golden file names."""
    if isinstance(golden, str) and isinstance(now, str):
        return set(now.split(_OR)) <= set(golden.split(_OR))
    return golden == [] and isinstance(now, list)


def shape(value: Any) -> Any:
    """What kind of JSON a value is: its fields, each with its type; the entries of a list are taken together.

    A field that not every entry of a list has ends in ``?``. Where several types occur, all are named.
    """
    if isinstance(value, dict):
        return {name: _MAY_BE_NULL.get(name) or shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        entries = [shape(inner) for inner in value]
        merged = entries[:1]
        for entry in entries[1:]:
            merged = [_merged(merged[0], entry)]
        return merged
    # A bool is an int.
    if isinstance(value, bool):
        return "true or false"
    return "nothing" if value is None else "text" if isinstance(value, str) else "number"


def _merged(a: Any, b: Any) -> Any:
    if isinstance(a, dict) and isinstance(b, dict):
        names = {name.removesuffix("?"): None for name in (*a, *b)}
        merged = {}
        for name in names:
            sides = [side[key] for side in (a, b) for key in (name, f"{name}?") if key in side]
            in_all = name in a and name in b
            merged[name if in_all else f"{name}?"] = sides[0] if len(sides) == 1 else _merged(*sides)
        return merged
    if isinstance(a, list) and isinstance(b, list):
        return [_merged(a[0], b[0])] if a and b else a or b
    if a == b:
        return a
    kinds = [side if isinstance(side, str) else json.dumps(side) for side in (a, b)]
    return _OR.join(sorted({kind for side in kinds for kind in side.split(_OR)}))
