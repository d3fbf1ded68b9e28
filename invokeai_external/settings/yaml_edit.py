"""Changes single values of a YAML file that a user writes: only the lines of each value, under a lock, in one step."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from ..errors import SettingsError
from ..locks import LockBusyError, locked
from ..regular_files import make_readable, temporary_file
from .yaml_file import BoundedLoader, YamlFile, child_of, children_of

__all__ = ["Change", "edit_file", "edited", "one_line"]

Change = tuple[Sequence[str], str | None]
"""The place of a value, such as ``("providers", "acme", "base_url")``, and its YAML in one line; None removes it."""

_TEXT_TAG = "tag:yaml.org,2002:str"

_NULL_TAG = "tag:yaml.org,2002:null"


def one_line(value: object) -> str:
    """A value without line breaks as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()


def edit_file(
    path: Path,
    changes_of: Callable[[YamlFile], Iterable[Change]],
    *,
    by_hand: str,
    private: bool = False,
    check: Callable[[Path, str], object] | None = None,
    provider: str | None = None,
) -> Path:
    """Change values in a file, which need not exist, and keep every other character; returns the file.

    The file is replaced in one step. A symbolic link is followed, so that its target is replaced.

    Args:
        path: The file.
        changes_of: Returns the changes. It is called under the lock, and may raise.
        by_hand: What to do if more than the lines of these values would have to change: then nothing is written.
        private: Let only the owner read the file (mode 0600, on systems that have modes). Otherwise its mode stays.
        check: Raises if the new text must not be written.
        provider: The provider that the changes are for, to name it in errors.

    Raises:
        SettingsError: The file is broken, or cannot be changed or locked.
    """
    path = Path(os.path.realpath(path))
    # Before anything is created beside it: it may be broken, or not a file.
    YamlFile(path)
    with _writing(path):
        file = YamlFile(path)
        text = edited(file.text, changes_of(file))
        if text is None:
            raise SettingsError(
                f"{path} cannot be changed line by line, so it was not changed.", remedy=by_hand, provider=provider
            )
        if check:
            check(path, text)
        with temporary_file(path.parent, [text.encode("utf-8")], prefix=f".{path.name}.") as temporary:
            if path.exists() and not private:
                temporary.chmod(path.stat().st_mode)
            elif not private:
                make_readable(temporary)
            temporary.replace(path)
    return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Be the only process of this program that writes the file while the block runs."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            yield
    except LockBusyError:
        raise SettingsError(f"{path} is being written by another process.", remedy="Try again.") from None
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Correct the permissions of the folder, or specify another root.",
        ) from None


def edited(text: str, changes: Iterable[Change]) -> str | None:
    """A YAML text with changed values; None if more than the lines of these values would have to change.

    Mappings that are not there yet are added. What is added to a mapping is added at its end.
    """
    for place, value in changes:
        before = BoundedLoader(text).get_single_node()
        changed = _with_lines(text, before, place, value)
        if changed == text:
            continue
        if changed is None or not _differs_at(before, changed, place, value):
            return None
        text = changed
    return text


def _with_lines(text: str, node: yaml.Node | None, place: Sequence[str], value: str | None) -> str | None:
    """The text with one value changed, as far as lines can show."""
    key = None
    for depth, name in enumerate(place):
        found = child_of(node, name)
        if found is None:
            return text if value is None else _with_entry(text, key, node, place[depth:], value)
        key, node = found
    assert key is not None
    assert node is not None
    start = key.start_mark.index
    # The end of a block of text is the start of what follows.
    end = start + len(text[start : _end_of(key, node)].rstrip())
    if value is not None:
        return f"{text[:start]}{one_line(place[-1])}: {value}{text[end:]}"
    line, line_end = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    return text[:line] + ("" if line_end < 0 else text[line_end + 1 :])


def _with_entry(
    text: str, key: yaml.Node | None, node: yaml.Node | None, names: Sequence[str], value: str
) -> str | None:
    """The text with a new entry at the end of a mapping.

    Args:
        text: The text.
        key: The name of the mapping; None for the whole file.
        node: The mapping, which may be empty.
        names: The name of the entry, and those of entries below it that are not there either.
        value: The value of the last of them.
    """
    indent, end = 0, len(text)
    if key is not None:
        assert node is not None
        if isinstance(node, yaml.MappingNode) and node.value:
            last_key, last = node.value[-1]
            indent, end = node.value[0][0].start_mark.column, _end_of(last_key, last)
        elif isinstance(node, yaml.MappingNode) or node.tag == _NULL_TAG:
            # Without its braces, or its null.
            start = max(node.start_mark.index, key.end_mark.index + 1)
            text = text[:start].rstrip(" ") + text[max(node.end_mark.index, start) :]
            indent, end = key.start_mark.column + 2, key.end_mark.index + 1
        else:
            return None
    end = end if text[end - 1 : end] == "\n" else text.find("\n", end) + 1 or len(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    steps = [f"{' ' * (indent + 2 * depth)}{one_line(name)}:" for depth, name in enumerate(names)]
    lines = "".join(f"{step}{newline}" for step in steps[:-1]) + f"{steps[-1]} {value}{newline}"
    begun = newline if text[:end] and text[end - 1] != "\n" else ""
    return f"{text[:end]}{begun}{lines}{text[end:]}"


def _end_of(key: yaml.Node, node: yaml.Node) -> int:
    """Where an entry ends in the text, without the comments that follow it. An alias has the place of its anchor."""
    below = children_of(node)
    if below and isinstance(node, yaml.CollectionNode) and not node.flow_style:
        return max(_end_of(key, below[-1]), key.end_mark.index + 1)
    return max(node.end_mark.index, key.end_mark.index + 1)


def _differs_at(before: yaml.Node | None, text: str, place: Sequence[str], value: str | None) -> bool:
    """True if a text differs from what was there at one place only, where it has this value once, or (None) not at
    all."""
    try:
        after = BoundedLoader(text).get_single_node()
        wanted = None if value is None else BoundedLoader(value).get_single_node()
    except yaml.YAMLError:
        return False
    for depth, name in enumerate(place):
        mine = (_TEXT_TAG, name)
        others = [[entry for entry in _entries(node) if _plain(entry[0]) != mine] for node in (before, after)]
        if _plain_entries(others[0]) != _plain_entries(others[1]):
            return False
        old, new = ([v for k, v in _entries(node) if _plain(k) == mine] for node in (before, after))
        if len(new) != 1 or len(old) > 1:
            return not new and value is None and depth == len(place) - 1
        before, after = (old[0] if old else None), new[0]
    return wanted is not None and _plain(after) == _plain(wanted)


def _entries(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _plain_entries(entries: Iterable[tuple[yaml.Node, yaml.Node]]) -> list[tuple[object, object]]:
    return [(_plain(name), _plain(value)) for name, value in entries]


def _plain(node: yaml.Node | None) -> object:
    """A node in a form that can be compared: with tags, since 1 == true and NaN != NaN."""
    if node is None:
        return None
    below = [_plain(child) for child in children_of(node)]
    return node.tag, below or node.value
