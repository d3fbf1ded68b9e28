"""``doctor``: reports what is installed in an Invoke root, which keys are set, what is wrong and how to fix it."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path

from ... import clock
from ...errors import ExternalError, NotConfiguredError, SettingsError
from ...providers.provider_config import ProviderConfig
from ...providers.registry import Registry
from ...root_folder import API_KEYS_FILE, USER_FILE
from ...service.access import checked_base_url, token_source
from ...service.tokens import check_token_can_be_made
from ...service.uses_of_ending_models import EXTERNAL_MODEL, ending_notices
from ...settings.keys import usual_place
from ...settings.settings import Credentials, Settings, check_key, load_settings, unpaired_error, wants_sandbox
from ...settings.yaml_file import YamlFile
from ...untrusted_text import ID, fit_to_show
from ...version import VERSION
from .. import report
from ..common import no_folder, open_root, report_interrupted_calls
from ..exit_codes import WRONG_USAGE
from ..invoke_database import saved_workflows
from ..remedies import command_line, with_root
from ..spending_state import spending_state
from .install import VERSION_FILE, copies_of_plugin, plugin_folder
from .undelivered import undelivered_images

__all__ = ["run"]

_OLDEST_INVOKE = (6, 13)
_RESPONSE_S = 2.0
_EVERYWHERE = ("0.0.0.0", "::")
"""All interfaces: servers listen there, and clients cannot connect to it."""


def run(given_root: Path | None) -> int:
    """Print what was found, one line each; returns 0 if nothing is wrong, else 2.

    Args:
        given_root: What was given with ``--root``.
    """
    root = open_root(given_root)
    if not root.is_dir():
        raise no_folder(root)
    problems = 0

    def show(good: bool, text: str) -> None:
        nonlocal problems
        problems += not good
        report.show(f"{'ok   ' if good else 'WRONG'}  {text}", indent=7)

    report.show(f"invokeai_external {VERSION}, root {root}")
    is_root = (root / "invokeai.yaml").is_file()
    name_root = f"{command_line('doctor')} --root INVOKE_ROOT"
    show(
        is_root,
        "invokeai.yaml was found"
        if is_root
        else f"there is no invokeai.yaml, so this is not an Invoke root; specify one: {name_root}",
    )
    if is_root:
        show(*_invoke_state(root))
        show(*_plugin_state(root))
    if images := undelivered_images(root):
        show(
            True,
            f"images that were paid for and are not in Invoke's gallery: {len(images)}; list them with: "
            f"{command_line('undelivered', root=given_root)}",
        )
    try:
        # As Invoke reads them, which does not know the variables of the providers' own tools.
        current = load_settings(root, usual_variables=False)
        report_interrupted_calls(current)
        registry = Registry(current.catalog)
        for notice in current.notices:
            show(False, notice.message)
        show(True, f"{API_KEYS_FILE} and {USER_FILE} are valid; {len(registry.models())} models are known")
        for notice in ending_notices(current, registry, saved_workflows(root, EXTERNAL_MODEL), clock.utc_today()):
            show(notice.code != "model_retired", notice.message)
        for provider_id in filter(current.is_on, current.providers):
            try:
                show(*_provider_state(current, current.providers[provider_id], given_root))
            except NotConfiguredError as error:
                show(False, str(with_root(error, given_root)))
        for good, text in spending_state(current, given_root):
            show(good, text)
        is_sandbox = current.sandbox or wants_sandbox(os.environ)
        if not any(map(current.is_ready, current.providers)) and not is_sandbox:
            show(False, "no provider has a key, so Invoke does not show the models")
    except ExternalError as error:
        show(False, str(with_root(error, given_root)))
    return WRONG_USAGE if problems else 0


def _provider_state(current: Settings, info: ProviderConfig, given_root: Path | None) -> tuple[bool, str]:
    found = current.credentials.get(info.id, Credentials())
    if found.unpaired:
        return False, str(unpaired_error(info, found, current.root))
    url = checked_base_url(info, found)
    if found.api_key:
        check_key(info, found.api_key.get_secret_value(), found.source)
        return True, f"{info.id}: key from {found.source}; {url}"
    if not info.needs_key:
        check_token_can_be_made(info)
        token = token_source(info)
        return True, f"{info.id}: {f'token from {token}' if token else 'no key needed'}; {url}"
    usual = usual_place(info, os.environ).key
    only = f" ({usual.source} works on the command line only)" if usual else ""
    set_key = command_line("keys", "set", info.id, root=given_root)
    return True, f"{info.id}: no key{only}; {url}; set one with: {set_key}"


def _invoke_state(root: Path) -> tuple[bool, str]:
    url = _base_url(root)
    version = _version_at(url)
    if version is None:
        return True, f"Invoke is not running at {url}, so its version is not known"
    numbers = tuple(int(found) for found in re.findall(r"[0-9]{1,9}", version)[:2])
    if numbers < _OLDEST_INVOKE:
        return False, f"the Invoke at {url} is {version}; the plugin needs 6.13 or newer"
    return True, f"the Invoke at {url} is {version}"


def _base_url(root: Path) -> str:
    """The URL of the root's Invoke when it runs; Invoke's default if its settings cannot be read."""
    try:
        config = YamlFile(root / "invokeai.yaml").data
    except SettingsError:
        config = {}
    host = str(config.get("host") or "127.0.0.1")
    scheme = "https" if config.get("ssl_certfile") else "http"
    return f"{scheme}://{'127.0.0.1' if host in _EVERYWHERE else host}:{config.get('port') or 9090}"


def _version_at(url: str) -> str | None:
    """The version that Invoke reports at a URL; None if no Invoke responds there."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/api/v1/app/version", timeout=_RESPONSE_S) as response:
            return fit_to_show(str(json.load(response)["version"]), ID)
    # Any other server may be there.
    except (OSError, ValueError, LookupError, TypeError, HTTPException):
        return None


def _plugin_state(root: Path) -> tuple[bool, str]:
    copies = copies_of_plugin(root)
    install = command_line("install", root=root)
    if not copies:
        return False, f"the plugin is not installed; install it with: {install}"
    if len(copies) > 1:
        return (
            False,
            f"the plugin is installed {len(copies)} times; delete all but one: {', '.join(map(str, copies))}",
        )
    [folder] = copies
    match = re.search(r'VERSION = "([^"]+)"', (folder / VERSION_FILE).read_text(encoding="utf-8"))
    version = match[1] if match else "unknown"
    if version != VERSION:
        run = f"run: {install}"
        fix = run if folder == plugin_folder(root) else f"update that copy, or delete it and {run}"
        return False, f"the plugin in {folder} has version {version}, not {VERSION}; {fix}"
    return True, f"the plugin has version {version} and is in {folder}"
