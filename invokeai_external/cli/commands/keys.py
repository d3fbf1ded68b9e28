"""``keys``: sets, lists, tests and removes API keys. A key is read without echo and never shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from ...errors import NotConfiguredError, RequestError
from ...providers.provider_config import ProviderConfig
from ...result import ConnectionCheck
from ...service.access import checked_base_url, token_source
from ...service.service import Service
from ...settings.key_file import key_file_of, remove_key, set_key
from ...settings.settings import Credentials, Settings, check_key, load_user_file, unpaired_error
from .. import event_loop, report
from ..common import named_provider, open_root, settings
from ..remedies import command_line
from ..streams import read_input
from ..terminal import is_terminal

__all__ = ["list_all", "remove_one", "set_one", "test_one"]


_LONGEST_INPUT = 10_000
"""The most bytes read from standard input; no key is that long."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What ``keys list`` prints for a provider; its fields are those of the JSON output.

    ``base_url`` is None if it is not valid: it may contain a password then.
    """

    provider: str
    key: bool
    source: str | None
    base_url: str | None
    base_url_source: str | None
    unused: tuple[str, ...]
    problem: str | None
    token_source: str | None


def set_one(provider: str, *, root: Path | None) -> None:
    """Ask for a key, or read it from standard input if that is not a terminal, and save it."""
    folder = open_root(root)
    info = named_provider(provider, load_user_file(folder).providers)
    if not info.needs_key:
        token = token_source(info)
        why = f"its token is from {token}" if token else "requests to it are sent without one"
        raise report.UsageError(f"{info.name} needs no key: {why}. Nothing was saved.")
    if is_terminal():
        report.say(f"Create a key {info.key_place}, then paste it here.")
        try:
            key = typer.prompt(f"{info.name} key (not shown)", hide_input=True, err=True)
        except (typer.Abort, KeyboardInterrupt):
            report.say("Nothing was saved.")
            raise
    else:
        # To the end: a second line is an error, and must not be ignored.
        key = read_input(_LONGEST_INPUT).decode("utf-8-sig", "replace")
    path = set_key(folder, info, key)
    report.say(f"Saved the key for {info.name} in {path}")
    current = settings(root)
    used = current.credentials.get(provider, Credentials())
    if _has_no_base_url(current, provider):
        report.say(f"Next, set its base URL: {command_line('providers', 'add', provider, root=root)}")
    if used.unpaired:
        report.say(f"Note: {unpaired_error(info, used, folder)}", indent=6)
    elif used.source != str(folder / key_file_of(info)):
        report.say(f"Note: The key in {used.source} is used instead: it has priority over this file.")
    elif used.base_url:
        report.say(f"It is sent to {used.base_url}, the base URL in the same file.")


def list_all(*, as_json: bool, root: Path | None) -> None:
    """Print for each provider whether it has a key, where it is, which base URL it is for, and what is not used."""
    current = settings(root)
    rows = [_row(current, info) for name, info in current.providers.items() if current.is_on(name)]
    if as_json:
        report.print_json({"keys": [asdict(row) for row in rows], "root": str(current.root)})
        return
    report.notices(current.notices)
    for row in rows:
        what = f"key from {row.source}" if row.key else "no key"
        if not current.providers[row.provider].needs_key:
            what = f"token from {row.token_source}" if row.token_source else "no key needed"
        where = f" (from {row.base_url_source})" if row.base_url_source not in (None, row.source) else ""
        unused = f"; not used: {', '.join(row.unused)}" if row.unused else ""
        missing = "no base URL" if _has_no_base_url(current, row.provider) else "a base URL that is not valid"
        report.show(f"{row.provider}: {what}, at {row.base_url or missing}{where}{unused}")
        if row.problem:
            report.show(f"  {row.problem}")


def _has_no_base_url(current: Settings, provider_id: str) -> bool:
    found = current.credentials.get(provider_id, Credentials())
    return not (found.base_url or current.providers[provider_id].base_url)


def _row(current: Settings, info: ProviderConfig) -> _Row:
    found = current.credentials.get(info.id, Credentials())
    problem: RequestError | None = unpaired_error(info, found, current.root) if found.unpaired else None
    base_url = None
    try:
        base_url = checked_base_url(info, found)
        if found.api_key:
            check_key(info, found.api_key.get_secret_value(), found.source)
    except NotConfiguredError as error:
        problem = error
    return _Row(
        provider=info.id,
        key=found.api_key is not None,
        source=found.source,
        base_url=base_url,
        base_url_source=found.base_url_source,
        unused=found.unused,
        problem=str(problem) if problem else None,
        token_source=token_source(info),
    )


def test_one(provider: str, *, as_json: bool, root: Path | None) -> None:
    """Ask the provider for its list of models with the key in use, and print the outcome."""
    named_provider(provider, load_user_file(open_root(root)).providers)
    check = event_loop.run(_check, provider, root)
    if as_json:
        report.print_json(asdict(check) | {"provider": provider})
    else:
        report.show(check.message)


async def _check(provider: str, root: Path | None) -> ConnectionCheck:
    async with Service(settings(root)) as service:
        return await service.check_connection(provider)


def remove_one(provider: str, *, root: Path | None) -> None:
    """Delete a key from the file, and say so if the environment still has one."""
    folder = open_root(root)
    info = named_provider(provider, load_user_file(folder).providers)
    path = folder / key_file_of(info)
    if remove_key(folder, info):
        report.say(f"Removed the key for {info.name} from {path}")
    else:
        report.say(f"There is no key for {info.name} in {path}")
    still = settings(root).credentials.get(provider, Credentials())
    if still.api_key:
        report.say(f"Note: {still.source} still holds a key.")
    elif still.unpaired:
        report.say(f"Note: {still.unpaired} still holds a key, for a different base URL from the one in this file.")
