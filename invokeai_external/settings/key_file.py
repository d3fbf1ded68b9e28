"""Reads, sets and removes keys in the two files of keys without a change to any other line.

``api_keys.yaml`` is Invoke's own, which drops the entries of providers that it does not know; their keys are in
``invokeai_external_keys.yaml``.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..locks import others_can_read
from ..misspellings import nearest
from ..providers.provider_config import ProviderConfig
from ..result import Notice
from ..root_folder import API_KEYS_FILE, KEYS_FILE
from ..untrusted_text import quoted
from .keys import check_key, unquoted
from .yaml_edit import Change, edit_file
from .yaml_file import YamlFile

__all__ = [
    "key_file_of",
    "key_files",
    "misplaced_notices",
    "permission_notices",
    "read_entries",
    "remove_key",
    "set_key",
]


_FORMAT = 1
"""The format of ``invokeai_external_keys.yaml``, which is its first entry."""


def key_file_of(provider: ProviderConfig) -> str:
    """The name of the file that holds a provider's key."""
    return API_KEYS_FILE if provider.in_invoke else KEYS_FILE


def key_files(root: Path) -> dict[str, YamlFile]:
    """The two files of keys by their names, neither of which need exist; raises SettingsError if one is broken."""
    return {name: YamlFile(root / name) for name in (API_KEYS_FILE, KEYS_FILE)}


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


def read_entries(file: YamlFile, providers: Sequence[str], *, check_names: bool = False) -> dict[str, str]:
    """The entries of a file of keys for these providers, without empty ones. In ``api_keys.yaml``, all other entries
    belong to Invoke.

    Raises:
        SettingsError: A value is not text, or, with ``check_names``, the name of an entry of these providers is
            misspelt: without its base URL, a key would go to another server.
    """
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
    names = _names(providers)
    for name in map(str, file.data):
        if name in names.values() or (form := nearest(name, names)) is None:
            continue
        line, _ = file.find((name,))
        raise file.error(
            line,
            f"{name} is not the name of an entry",
            remedy=f"Did you mean {names[form]}? Correct that line, then try again.",
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


def misplaced_notices(files: Mapping[str, YamlFile], providers: Iterable[ProviderConfig]) -> Iterator[Notice]:
    """What to know about entries that are in the file of keys where their provider's are not read.

    Args:
        files: The two files of keys by their names.
        providers: The providers.
    """
    for provider in providers:
        right = key_file_of(provider)
        wrong = KEYS_FILE if right == API_KEYS_FILE else API_KEYS_FILE
        for name in (f"external_{provider.id}_api_key", f"external_{provider.id}_base_url"):
            if files[wrong].data.get(name) is not None:
                yield Notice(
                    "entry_in_wrong_file",
                    f"{name} in {files[wrong].path} is not read there. Move that line to {files[right].path}.",
                )


def _edit_keys(root: Path, provider: ProviderConfig, key: str | None) -> Path:
    """Set a key in the file, or remove its line (None), and keep every other character as it is.

    Raises:
        SettingsError: The file is broken, or cannot be changed or locked; or more than that line would have to change,
            and then the remedy has the line to write.
    """
    name = f"external_{provider.id}_api_key"

    def changes(file: YamlFile) -> Iterator[Change]:
        if not provider.in_invoke:
            _check_format(file)
            if not file.text.strip():
                yield ("format",), str(_FORMAT)
        # JSON strings are YAML strings, whatever the key holds.
        yield (name,), None if key is None else json.dumps(key)

    todo = f"delete that of {name}" if key is None else f"write your key as: {name}: <key>"
    return edit_file(
        root / key_file_of(provider),
        changes,
        by_hand=f"Open it, put each entry on a separate line, and {todo}",
        private=True,
        provider=provider.id,
    )
