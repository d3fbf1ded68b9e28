"""What most commands start from: the root folder and its settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import InvalidRequestError, UnknownProviderError
from ..providers.configured import provider_named
from ..providers.provider_config import ProviderConfig
from ..service.interrupted_calls import interrupted_calls, notices_of
from ..settings.root import own_folder, root_folder
from ..settings.settings import Settings, load_settings
from . import report

__all__ = [
    "existing_root",
    "make_own_folder",
    "named_provider",
    "no_folder",
    "open_root",
    "report_interrupted_calls",
    "settings",
]


def settings(root: Path | None) -> Settings:
    """The settings of a root folder, the providers' usual variables included; see ``report_interrupted_calls``."""
    found = load_settings(open_root(root))
    report_interrupted_calls(found)
    return found


def report_interrupted_calls(found: Settings) -> None:
    """Report, once, which calls were in flight when their program was killed: they may have been billed."""
    report.notices(notices_of(interrupted_calls(found)))


def named_provider(name: str, providers: Mapping[str, ProviderConfig]) -> ProviderConfig:
    """The provider that a command names; raises UsageError if there is no such provider."""
    try:
        return provider_named(name, providers)
    except UnknownProviderError as error:
        raise report.UsageError(error.message, remedy=error.remedy) from None


def open_root(root: Path | None) -> Path:
    """The root folder: the one given with ``--root``, else ``INVOKEAI_ROOT``, else the user's own.

    One that was given with ``--root`` must be there: with a name that is mistyped, no limit would hold.

    Raises:
        InvalidRequestError: There is no such folder, it is something else, or it has a name that the system refuses.
    """
    folder = root_folder(root, os.environ)
    try:
        is_there = folder.exists()
        is_other = is_there and not folder.is_dir()
    except OSError as error:
        raise InvalidRequestError(
            f"{folder} cannot be opened: {error.strerror}.", remedy="Specify the root folder with --root."
        ) from None
    if is_other:
        raise InvalidRequestError(f"{folder} is not a folder.", remedy="Specify the root folder with --root.")
    if root is not None and not is_there:
        raise no_folder(folder)
    return folder


def existing_root(root: Path | None) -> Path:
    """The root folder as ``open_root`` has it; the user's own is created. Raises InvalidRequestError."""
    folder = open_root(root)
    make_own_folder(root)
    if not folder.is_dir():
        raise no_folder(folder)
    return folder


def no_folder(folder: Path) -> InvalidRequestError:
    """The error for a root folder that is missing."""
    return InvalidRequestError(
        f"There is no folder {folder}.", remedy="Create it, or correct its name in --root or INVOKEAI_ROOT."
    )


def make_own_folder(root: Path | None) -> None:
    """Create the user's own folder if it is the one in use, so that what is spent can be recorded in it.

    A folder named with ``--root`` or ``INVOKEAI_ROOT`` is not created. Errors are ignored.
    """
    own = own_folder(os.environ)
    if root_folder(root, os.environ) == own:
        with suppress(OSError):
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
