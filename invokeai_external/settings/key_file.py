"""Reads, sets and removes keys in the two files of keys without a change to any other line.

``api_keys.yaml`` is Invoke's own, which drops the entries of providers that it does not know; their keys are in
``invokeai_external_keys.yaml``.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from ..errors import SettingsError
from ..locks import LockBusyError, locked, others_can_read
from ..misspellings import nearest
from ..providers.provider_config import ProviderConfig
from ..regular_files import temporary_file
from ..result import Notice
from ..root_folder import API_KEYS_FILE, KEYS_FILE
from ..untrusted_text import quoted
from .keys import check_key, unquoted
from .yaml_file import BoundedLoader, YamlFile, child_of, children_of

__all__ = ["key_file_of", "permission_notices", "read_entries", "remove_key", "set_key"]


_TEXT_TAG = "tag:yaml.org,2002:str"

_FORMAT = 1
"""The format of ``invokeai_external_keys.yaml``, which is its first entry."""


def key_file_of(provider: ProviderConfig) -> str:
    """The name of the file that holds a provider's key."""
    return API_KEYS_FILE if provider.in_invoke else KEYS_FILE


def set_key(root: Path, provider: ProviderConfig, key: str) -> Path:
    """Write a provider's key into its file, keeping every other line; returns the file.

    The file is replaced in one step and only its owner can read it (mode 0600, on systems that have modes).

    Raises:
        NotConfiguredError: The key is not valid.
        SettingsError: The file is broken.
    """
    key = unquoted(key)
    check_key(provider, key)
    return _edit_keys(root, provider, key)


def remove_key(root: Path, provider: ProviderConfig) -> bool:
    """Remove a provider's key from its file; returns False if it was not there."""
    if YamlFile(root / key_file_of(provider)).data.get(f"external_{provider.id}_api_key") is None:
        return False
    _edit_keys(root, provider, None)
    return True


def read_entries(path: Path, providers: Sequence[str], *, check_names: bool = False) -> dict[str, str]:
    """The entries of a file of keys for these providers, without empty ones. In ``api_keys.yaml``, all other entries
    belong to Invoke.

    Raises:
        SettingsError: The file is broken, a value is not text, or, with ``check_names``, the name of an entry of these
            providers is misspelt: without its base URL, a key would go to another server.
    """
    file = YamlFile(path)
    if check_names:
        _check_names(file, providers)
    entries = {}
    for name in (f"external_{provider}_{entry}" for provider in providers for entry in ("api_key", "base_url")):
        value = file.data.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            line, _ = file.find((name,))
            raise file.error(line, f"{name} must be text; put it in quotes")
        entries[name] = value
    return entries


def _check_format(file: YamlFile) -> None:
    """Raise SettingsError for a file of a later version, which may have entries that must be changed together."""
    found = file.data.get("format", _FORMAT)
    if not isinstance(found, int) or found > _FORMAT:
        line, _ = file.find(("format",))
        raise file.error(line, f"format {quoted(found)} is of a later version", "Update this program, then try again.")


def _check_names(file: YamlFile, providers: Sequence[str]) -> None:
    """Raise SettingsError for the first name that is nearly that of an entry of these providers."""
    for name in map(str, file.data):
        if name in _names(providers).values() or (form := nearest(name, _names(providers))) is None:
            continue
        line, _ = file.find((name,))
        raise file.error(
            line,
            f"{name} is not the name of an entry",
            remedy=f"Did you mean {_names(providers)[form]}? Correct that line, then try again.",
        )


def _names(providers: Sequence[str]) -> dict[str, str]:
    """The names of the entries of these providers, each by the names that people may write instead."""
    return {
        f"{start}{provider}_{end}": f"external_{provider}_{entry}"
        for provider in providers
        for entry, ends in _ENDS.items()
        for end in ends
        for start in ("external_", "invokeai_external_", "")
    }


_ENDS = {"api_key": ("api_key", "key", "api_token", "token"), "base_url": ("base_url", "url", "api_url", "api_base")}
"""How the names of the entries end, and what people write instead."""


def permission_notices(path: Path) -> list[Notice]:
    if not path.exists() or not others_can_read(path):
        return []
    return [
        Notice("keys_readable", f"Other users of this machine can read {path}. Run: chmod 600 {shlex.quote(str(path))}")
    ]


def _edit_keys(root: Path, provider: ProviderConfig, key: str | None) -> Path:
    """Set a key in the file, or remove its line (None), and keep every other character as it is.

    Raises:
        SettingsError: The file is broken, or cannot be changed or locked; or more than that line would have to change,
            and then the remedy has the line to write.
    """
    # Follow a symbolic link, so that its target is replaced.
    path = Path(os.path.realpath(root / key_file_of(provider)))
    name = f"external_{provider.id}_api_key"
    # Before anything is created beside it: it may be broken, or not a file.
    YamlFile(path)
    with _writing(path):
        file = YamlFile(path)
        if not provider.in_invoke:
            _check_format(file)
        text = _edited(file, name, key)
        if not _differs_in_one_entry(file, text, name, key):
            todo = f"delete that of {name}" if key is None else f"write your key as: {name}: <key>"
            raise SettingsError(
                f"{path} cannot be changed line by line, so it was not changed.",
                remedy=f"Open it, put each entry on a separate line, and {todo}",
                provider=provider.id,
            )
        starts_ours = not provider.in_invoke and not file.text.strip()
        _write_private(path, f"format: {_FORMAT}\n{text.lstrip()}" if starts_ours else text)
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


def _edited(file: YamlFile, name: str, key: str | None) -> str:
    """The file's text with one entry's line changed, added or removed (None), as far as lines can show."""
    text, found = file.text, child_of(file.node, name)
    # JSON strings are YAML strings, whatever the key holds.
    entry = f"{name}: {json.dumps(key)}"
    if found is None:
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{entry}\n"
    key_node, value_node = found
    start = key_node.start_mark.index
    # The end of a block of text is the start of what follows.
    end = start + len(text[start : max(value_node.end_mark.index, key_node.end_mark.index + 1)].rstrip())
    if key is not None:
        return f"{text[:start]}{entry}{text[end:]}"
    line_end = text.find("\n", end)
    return text[:start] + ("" if line_end < 0 else text[line_end + 1 :])


def _differs_in_one_entry(file: YamlFile, text: str, name: str, key: str | None) -> bool:
    """True if a text differs from the file in one entry only, which it has once with this key, or (None) not at all."""
    try:
        node = BoundedLoader(text).get_single_node()
    except yaml.YAMLError:
        return False
    wanted = [entry for entry in _entries(file.node) if entry[0] != (_TEXT_TAG, name)]
    found = _entries(node)
    if key is not None:
        try:
            found.remove(((_TEXT_TAG, name), (_TEXT_TAG, key)))
        except ValueError:
            return False
    return found == wanted


def _entries(node: yaml.Node | None) -> list[tuple[object, object]]:
    """The entries of a file in a form that can be compared: with tags, since 1 == true and NaN != NaN."""

    def plain(node: yaml.Node) -> object:
        below = [plain(child) for child in children_of(node)]
        return node.tag, below or node.value

    return [(plain(name), plain(value)) for name, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner can read; raises OSError."""
    with temporary_file(path.parent, [text.encode("utf-8")], prefix=f".{path.name}.") as temporary:
        temporary.replace(path)
