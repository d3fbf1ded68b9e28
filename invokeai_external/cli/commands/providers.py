"""``providers``: lists all providers, those that are off too."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import NotConfiguredError
from ...providers.built_in import built_in_ids
from ...providers.provider_config import ProviderConfig
from ...service.access import checked_base_url, token_source
from ...settings.settings import Credentials, Settings
from .. import report
from ..common import settings
from ..remedies import command_line
from ..terminal import print_table

__all__ = ["list_all"]


@dataclass(frozen=True, slots=True)
class _Row:
    """What ``providers`` prints for a provider; its fields are those of the JSON output.

    ``base_url`` is None if it is missing or not valid: it may contain a password then.
    """

    provider: str
    name: str
    adapter: str
    on: bool
    ready: bool
    base_url: str | None
    key_source: str | None
    needs_key: bool
    built_in: bool


def list_all(*, as_json: bool, root: Path | None) -> None:
    """Print all providers, those that are off too."""
    current = settings(root)
    rows = [_row(current, provider) for provider in current.providers.values()]
    if as_json:
        report.print_json({"providers": [asdict(row) for row in rows], "root": str(current.root)})
        return
    report.notices(current.notices)
    print_table([_cells(row) for row in rows])
    report.say(f"To use one that is off, or any other server: {command_line('providers', 'add', 'NAME', root=root)}")


def _row(current: Settings, provider: ProviderConfig) -> _Row:
    found = current.credentials.get(provider.id, Credentials())
    base_url = None
    with suppress(NotConfiguredError):
        base_url = checked_base_url(provider, found)
    return _Row(
        provider=provider.id,
        name=provider.name,
        adapter=provider.adapter,
        on=current.is_on(provider.id),
        ready=base_url is not None and current.is_ready(provider.id),
        base_url=base_url,
        key_source=found.source if provider.needs_key else token_source(provider),
        needs_key=provider.needs_key,
        built_in=provider.id in built_in_ids(),
    )


def _cells(row: _Row) -> dict[str, str]:
    return {
        "Provider": row.provider,
        "Name": row.name,
        "State": "off" if not row.on else "ready" if row.ready else "no key" if row.base_url else "not ready",
        "Base URL": row.base_url or "-",
        "Key": row.key_source or ("-" if row.needs_key else "not needed"),
    }
