"""``keys``: set, list, test and remove the providers' keys. A key is read without echo and never shown."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import typer

from ..registry import PROVIDER_IDS, Registry
from ..request import ConnectionCheck
from ..service import Service
from ..settings import API_KEYS_FILE, remove_key, set_key
from . import report
from .context import root_folder, settings

__all__ = ["list_all", "remove_one", "set_one", "test_one"]


def set_one(provider: str, *, root: Path | None) -> None:
    """Ask for a key, or read it from standard input if that is no terminal, and write it down."""
    info = Registry().provider(provider).info
    if sys.stdin.isatty():
        report.say(f"Make a key at {info.key_url}")
        key = typer.prompt(f"{info.name} key (not shown)", hide_input=True, err=True)
    else:
        key = sys.stdin.readline()
    folder = root_folder(root)
    path = set_key(folder, provider, key)
    report.say(f"The key for {info.name} is in {path}")
    used = settings(root).credentials[provider]
    if used.source != str(folder / API_KEYS_FILE):
        report.say(f"Note: the one in {used.source} wins over it.")


def list_all(*, as_json: bool, root: Path | None) -> None:
    """Say of each provider whether it has a key, where from, and which address is used."""
    current = settings(root)
    registry = Registry(current.models)
    rows = []
    for provider_id in PROVIDER_IDS:
        credentials, provider = current.credentials[provider_id], registry.provider(provider_id)
        rows.append(
            {
                "provider": provider_id,
                "key": credentials.api_key is not None,
                "source": credentials.source,
                "base_url": provider.normalise_base_url(credentials.base_url or provider.info.base_url),
            }
        )
    if as_json:
        report.print_json({"keys": rows, "root": str(current.root)})
        return
    report.notices(current.notices)
    for row in rows:
        what = f"key from {row['source']}" if row["key"] else "no key"
        print(f"{row['provider']}: {what}, at {row['base_url']}")


def test_one(provider: str, *, as_json: bool, root: Path | None) -> None:
    """Ask the provider for its list of models with the key that is set, and say what it answered."""
    check = anyio.run(_check, provider, root)
    if as_json:
        report.print_json({"provider": provider, "listed": check.listed, "missing": check.missing})
    else:
        print(check.message)


async def _check(provider: str, root: Path | None) -> ConnectionCheck:
    async with Service(settings(root)) as service:
        return await service.check_connection(provider)


def remove_one(provider: str, *, root: Path | None) -> None:
    """Take a key out of the file, and say so if the environment still has one."""
    folder = root_folder(root)
    path = folder / API_KEYS_FILE
    if remove_key(folder, provider):
        report.say(f"The key for {provider} was removed from {path}")
    else:
        report.say(f"There is no key for {provider} in {path}")
    still = settings(root).credentials[provider]
    if still.api_key:
        report.say(f"Note: {still.source} still holds one.")
