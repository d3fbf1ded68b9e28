"""The file with the models that providers list themselves: raw fields by provider, as each was last asked.

    {"format": 1, "providers": {"openrouter": {"base_url": "…", "at": "2026-11-30T12:03:11+00:00", "models": {…}}}}

It can be deleted: the next request for a model of such a provider asks again. It holds no key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..regular_files import read_regular_file, temporary_file
from ..root_folder import DISCOVERED_FILE

__all__ = ["Discovered", "read_discovered", "save_discovered"]

_FORMAT = 1
_MOST_BYTES = 8_000_000
_TEMPORARY = ".invokeai_external_discovered.json."
_AGE = timedelta(days=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a provider said of its models.

    Attributes:
        base_url: Where it was asked.
        at: When.
        models: The raw fields of each model by its id.
    """

    base_url: str
    at: datetime
    models: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def is_due(self, now: datetime) -> bool:
        """True if it is older than a day."""
        return not timedelta() <= now - self.at < _AGE


def read_discovered(root: Path) -> dict[str, Discovered]:
    """What each provider said; empty if there is no file, or it cannot be read."""
    path = root / DISCOVERED_FILE
    try:
        data = json.loads(read_regular_file(path, _MOST_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        _log.info("%s cannot be read; the providers are asked again.", path)
        return {}
    providers = data.get("providers") if isinstance(data, dict) and data.get("format") == _FORMAT else None
    if not isinstance(providers, dict):
        return {}
    return {name: found for name, entry in providers.items() if (found := _read(entry))}


def save_discovered(root: Path, provider_id: str, found: Discovered) -> None:
    """Replace what one provider said, in one step. Never raises: without the file, the provider is asked again."""
    known = {**read_discovered(root), provider_id: found}
    providers = {
        name: {"base_url": each.base_url, "at": each.at.isoformat(timespec="seconds"), "models": each.models}
        for name, each in known.items()
    }
    text = json.dumps({"format": _FORMAT, "providers": providers})
    try:
        with temporary_file(root, [text.encode()], prefix=_TEMPORARY) as path:
            path.replace(root / DISCOVERED_FILE)
    except OSError as error:
        _log.info("The models of %s could not be saved: %s", provider_id, error.strerror)


def _read(entry: object) -> Discovered | None:
    """What a provider said, as far as it is in the form in which it is written."""
    with suppress(ValueError):
        match entry:
            case {"base_url": str(base_url), "at": str(at), "models": dict(models)}:
                fields = {name: each for name, each in models.items() if isinstance(each, dict)}
                return Discovered(base_url, datetime.fromisoformat(at).astimezone(UTC), fields)
    return None
