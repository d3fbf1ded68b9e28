"""Writes a provider and its models into ``invokeai_external.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..adapters.base_url import normalise_base_url
from ..adapters.find import adapter_of
from ..errors import SettingsError
from ..providers.registry import Registry
from ..root_folder import USER_FILE
from .user_file import read_user_file
from .yaml_edit import Change, edit_file, edited, one_line
from .yaml_file import YamlFile

__all__ = ["NewProvider", "checked_lines", "save_provider"]


@dataclass(frozen=True, slots=True)
class NewProvider:
    """What to write of a provider.

    Attributes:
        id: Its id.
        fields: Its fields; one that is None is deleted from the file.
        models: The fields of its models by their ids.
    """

    id: str
    fields: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def changes(self) -> Iterator[Change]:
        for name, value in self.fields.items():
            yield ("providers", self.id, name), None if value is None else one_line(value)
        for model_id, fields in self.models.items():
            for name, value in fields.items():
                yield ("models", f"{self.id}/{model_id}", name), one_line(value)

    @property
    def lines(self) -> str:
        """The lines that a file without these entries would have for them."""
        return edited("", (change for change in self.changes() if change[1] is not None)) or ""


def save_provider(root: Path, new: NewProvider) -> Path:
    """Write a provider into the file, keeping every other line; returns the file.

    Raises:
        SettingsError: The file, or what would be written, is not valid; or more than the lines of these entries would
            have to change, and then the remedy has the lines to write.
        NotConfiguredError: The base URL is not valid.
    """
    return edit_file(
        root / USER_FILE,
        lambda file: new.changes(),
        by_hand=f"Write these lines into it:\n\n{new.lines}",
        check=lambda path, text: _check(path, text, new),
        provider=new.id,
    )


def checked_lines(root: Path, new: NewProvider) -> str:
    """The lines to write, if they are valid in this file; raises like ``save_provider``, but writes nothing."""
    path = root / USER_FILE
    text = edited(YamlFile(path).text, new.changes())
    if text is not None:
        _check(path, text, new)
    return new.lines


def _check(path: Path, text: str, new: NewProvider) -> None:
    try:
        found = read_user_file(path, text, is_written=False)
        Registry(found.catalog)
    except SettingsError as error:
        # If the file was wrong before, it is there that something must be corrected.
        read_user_file(path)
        raise error.replace(remedy="Nothing was written. Correct what you specified, then try again.") from None
    provider = found.providers[new.id]
    if provider.base_url:
        normalise_base_url(provider.base_url, adapter_of(provider))
