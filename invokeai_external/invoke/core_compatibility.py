"""Stores our nodes so that the core's own classes can always read them.

Our nodes have the core's type names. Invoke writes nodes into its queue and reads them back with the class that is
registered for the type: ours while the plugin is loaded, and the core's after an uninstall, or after the folder was
deleted by hand, when our code does not run. A single value that the core's class rejects breaks the list of the whole
queue (``list_all`` responds with 500).

So a value that only our class accepts is not stored in its field. It is stored under the key ``EXACT``, which the
core's class ignores, and our class reads it from there. A value in the field takes precedence, because *batch data*
writes into stored nodes directly.

The core does not know the nodes *External Image* and *External Image Info* at all. Their items are deleted on an
uninstall; after the folder was deleted by hand, Invoke cannot read them.

Pure functions. The facts are from the core's classes in 6.13.0 and 6.14.2, which are equal here; a host test compares
them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["EXACT", "INFO_NODE_TYPE", "NODE_TYPES", "OWN_NODE_TYPE", "as_read", "as_stored", "has_own_node", "repaired"]

EXACT = "invokeai_external"
"""The key in a stored node for the values that only our class accepts, by field."""

_MODES = ("txt2img", "img2img", "inpaint")

_ACCEPTED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "openai_image_generation": {
        "mode": _MODES,
        "quality": ("auto", "low", "medium", "high"),
        "input_fidelity": ("low", "high"),
    },
    "gemini_image_generation": {"mode": _MODES, "thinking_level": ("minimal", "high")},
}
"""The values that the core's classes accept, besides null, for the fields in which ours accept more."""

NODE_TYPES = tuple(_ACCEPTED)
"""The core's node types that ours replace."""

OWN_NODE_TYPE = "external_image"
"""The type of the node *External Image*. The core has no such node, and without the plugin reads no item with one."""

INFO_NODE_TYPE = "external_image_info"
"""The type of the node *External Image Info*, which the core does not have either."""

_UNKNOWN_TO_THE_CORE = (OWN_NODE_TYPE, INFO_NODE_TYPE)

_DEFAULTS: Mapping[str, str] = {"input_fidelity": "auto", "thinking_level": "auto"}
"""Our defaults that the core does not accept. They are not stored, because a missing value is read as the default."""


def as_stored(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node as it is stored: each value is one that the core's class accepts, or is under ``EXACT``.

    Args:
        node: The fields of a node with its ``type``. A node of another type is returned unchanged.
    """
    accepted = _ACCEPTED.get(str(node.get("type")), {})
    rejected = {name: node[name] for name in accepted if not _is_accepted(node.get(name), accepted[name])}
    if accepted and _is_rejected_count(node.get("num_images")):
        rejected["num_images"] = node["num_images"]
    if not rejected:
        return dict(node)
    stored = {name: value for name, value in node.items() if name not in rejected}
    exact = {name: value for name, value in rejected.items() if value != _DEFAULTS.get(name)}
    earlier = stored.pop(EXACT, None)
    if isinstance(earlier, Mapping):
        exact = {**{name: value for name, value in earlier.items() if name not in node}, **exact}
    return {**stored, EXACT: exact} if exact else stored


def as_read(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node as our class reads it: values under ``EXACT`` go back to their fields, unless the field has a value."""
    read = {name: value for name, value in node.items() if name != EXACT}
    exact = node.get(EXACT)
    return {**exact, **read} if isinstance(exact, Mapping) else read


def repaired(session: str) -> str | None:
    """A session of the queue with all nodes stored in the way of ``as_stored``.

    Args:
        session: The text of the queue's ``session`` column.

    Returns:
        The text to store instead; None if no change is needed or it is not JSON.
    """
    try:
        content = json.loads(session)
        return json.dumps(content) if _repair(content) else None
    except (ValueError, RecursionError):
        return None


def has_own_node(session: str) -> bool:
    """True if a session of the queue has a node that the core does not know."""
    if not any(f'"{name}"' in session for name in _UNKNOWN_TO_THE_CORE):
        return False
    try:
        return any(node.get("type") in _UNKNOWN_TO_THE_CORE for node in _nodes(json.loads(session)))
    except (ValueError, RecursionError):
        return False


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    """The nodes of all graphs in a session."""
    if isinstance(value, dict) and isinstance(nodes := value.get("nodes"), dict):
        yield from (node for node in nodes.values() if isinstance(node, dict))
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _nodes(entry)


def _repair(value: Any) -> bool:
    """Apply ``as_stored`` to the nodes of all graphs in a session, in place; True if any changed."""
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


def _is_rejected_count(value: object) -> bool:
    """True for a number of images that the core's class rejects: it accepts integers from 1."""
    return isinstance(value, int | float) and value < 1
