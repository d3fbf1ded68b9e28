"""Changes single values in ``invokeai_external.yaml``, and keeps every other line."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import SettingsError
from ..providers.registry import Registry
from ..root_folder import USER_FILE
from .user_file import read_user_file
from .yaml_edit import Change, edit_file, edited, one_line
from .yaml_file import YamlFile, child_of

__all__ = ["edit_section", "lines_of", "set_default", "set_setting", "with_value"]


def set_setting(root: Path, name: str, value: int | bool) -> Path:
    """Write a setting, such as ``previews``; returns the file.

    Raises:
        SettingsError: The file, or what would be written, is not valid; or more than the line of the setting would have
            to change, and then the remedy has the line to write.
    """
    by_hand = f"Write these lines into it:\n\n{lines_of('settings', {name: value})}"
    return edit_section(root, "settings", lambda _, before: with_value(before, (name,), value), by_hand=by_hand)


def set_default(root: Path, reference: str, option: str, value: str | float | None) -> Path:
    """Write the default of an option of a model, or remove it; returns the file.

    Args:
        root: The folder of the file.
        reference: The model as ``provider/model-id``.
        option: The option.
        value: Its value, which is not checked; None removes the default.

    Raises:
        SettingsError: As for ``set_setting``.
    """
    place = (reference, "defaults", option)
    if value is None:
        by_hand = f"Remove {'.'.join(('models', *place))} from it."
    else:
        by_hand = f"Write these lines into it:\n\n{lines_of('models', with_value({}, place, value))}"
    return edit_section(root, "models", lambda _, before: with_value(before, place, value), by_hand=by_hand)


def edit_section(
    root: Path, section: str, change: Callable[[YamlFile, dict[str, Any]], Mapping[str, Any]], *, by_hand: str
) -> Path:
    """Change values in a section of the file, which need not exist; returns the file.

    Args:
        root: The folder of the file.
        section: The section.
        change: Returns what the section holds then, given the file and a copy of what it holds now, with all names as
            texts. It may raise.
        by_hand: What to do if more than the lines of the changed values would have to change.

    Raises:
        SettingsError: The file, or what would be written, is not valid, or it cannot be changed so.
    """

    def changes(file: YamlFile) -> Iterator[Change]:
        before = _plain(file.data.get(section))
        after = change(file, copy.deepcopy(before))
        found = child_of(file.node, section)
        return _differences((section,), found and found[1], before, after, file.text)

    return edit_file(root / USER_FILE, changes, by_hand=by_hand, check=_check)


def lines_of(section: str, values: Mapping[str, Any]) -> str:
    """A section as lines of the file."""
    return edited("", _differences((section,), None, {}, values, "")) or ""


def with_value(values: dict[str, Any], place: Sequence[str], value: object) -> dict[str, Any]:
    """Mappings with a value set or (None) removed, and without what is empty then; they are changed."""
    name, *below = place
    inner = with_value(values.get(name) or {}, below, value) if below else value
    if inner is None or inner == {}:
        values.pop(name, None)
    else:
        values[name] = inner
    return values


def _plain(value: object) -> dict[str, Any]:
    """A mapping with the names as texts: YAML may read that of a user or of a model as a number."""
    found = value if isinstance(value, dict) else {}
    return {str(key): _plain(inner) if isinstance(inner, dict) else inner for key, inner in found.items()}


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


def _check(path: Path, text: str) -> None:
    try:
        Registry(read_user_file(path, text, is_written=False).catalog)
    except SettingsError as error:
        # If the file was wrong before, it is there that something must be corrected.
        read_user_file(path)
        meant = (error.hint or "").removesuffix("Correct that line, then try again.")
        remedy = meant or "Correct what you specified, then try again."
        raise error.replace(remedy=f"Nothing was written. {remedy}".strip()) from None
