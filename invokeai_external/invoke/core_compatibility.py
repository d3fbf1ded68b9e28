"""What is stored of our nodes under the core's type names: at all times something that the core's own classes accept.

Invoke writes nodes into its queue and reads them back with whatever class is registered for the type: with ours while
the pack is in, with the core's after an uninstall, and after the folder was deleted by hand, when no code of ours runs.
One value that the core's class refuses is enough to break the list of the whole queue (``list_all`` answers 500).

So a value that only our node knows is not stored under its field. It is stored under ``EXACT`` beside the fields, which
the core's class ignores, and our node reads it from there. A field that is stored wins over it: *batch data* writes
into stored nodes directly. Pure functions; all of it was read from the core's classes in 6.13.0 and 6.14.2, which are
equal here, and a host test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["EXACT", "NODE_TYPES", "as_read", "as_stored", "repaired"]

EXACT = "invokeai_external"
"""The key in a stored node under which the values stand that only our node knows, by field."""

_MODES = ("txt2img", "img2img", "inpaint")

_ACCEPTED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "openai_image_generation": {
        "mode": _MODES,
        "quality": ("auto", "low", "medium", "high"),
        "input_fidelity": ("low", "high"),
    },
    "gemini_image_generation": {"mode": _MODES, "thinking_level": ("minimal", "high")},
}
"""What the core's classes accept, for the fields in which ours accept more; null is what they have no value for."""

NODE_TYPES = tuple(_ACCEPTED)
"""The core's node types that ours stand in for."""

_DEFAULTS: Mapping[str, str] = {"input_fidelity": "auto", "thinking_level": "auto"}
"""Our defaults that the core does not know: what is missing is read as these, so that they need no place."""


def as_stored(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node as it is stored: each value is one that the core's class accepts, or stands under ``EXACT``.

    Args:
        node: The fields of a node with its ``type``; of any other type nothing is changed.
    """
    accepted = _ACCEPTED.get(str(node.get("type")), {})
    foreign = {name: node[name] for name in accepted if not _is_accepted(node.get(name), accepted[name])}
    if accepted and _is_no_count(node.get("num_images")):
        foreign["num_images"] = node["num_images"]
    if not foreign:
        return dict(node)
    stored = {name: value for name, value in node.items() if name not in foreign}
    exact = {name: value for name, value in foreign.items() if value != _DEFAULTS.get(name)}
    earlier = stored.pop(EXACT, None)
    if isinstance(earlier, Mapping):
        exact = {**{name: value for name, value in earlier.items() if name not in node}, **exact}
    return {**stored, EXACT: exact} if exact else stored


def as_read(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node as our class reads it: what stands under ``EXACT`` goes back to its field, if that is not stored."""
    read = {name: value for name, value in node.items() if name != EXACT}
    exact = node.get(EXACT)
    return {**exact, **read} if isinstance(exact, Mapping) else read


def repaired(session: str) -> str | None:
    """A stored session of the queue in which all nodes are as they are stored now.

    Args:
        session: The text of the queue's ``session`` column.

    Returns:
        The text to store in its place; None if it is right as it is, or is not JSON.
    """
    try:
        held = json.loads(session)
        return json.dumps(held) if _repair(held) else None
    except (ValueError, RecursionError):
        return None


def _repair(value: Any) -> bool:
    """Replace the nodes of all graphs in a session by what is stored of them; True if any was not right."""
    changed = False
    if isinstance(value, dict) and isinstance(nodes := value.get("nodes"), dict):
        for name, node in nodes.items():
            if isinstance(node, dict) and (stored := as_stored(node)) != node:
                nodes[name] = stored
                changed = True
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        changed = _repair(entry) or changed
    return changed


def _is_accepted(value: object, accepted: tuple[str, ...]) -> bool:
    return value is None or value in accepted


def _is_no_count(value: object) -> bool:
    """True for a number of images that the core's class refuses: it accepts whole numbers from 1."""
    return isinstance(value, int | float) and value < 1
