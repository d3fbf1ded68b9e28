"""``doctor``: what is installed in an Invoke root, which keys are set, what is wrong and how to mend it."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path

from ...adapters.base_url import normalise_base_url
from ...errors import ExternalError, NotConfiguredError, SettingsError
from ...providers.registry import PROVIDER_IDS, Registry
from ...providers.schema import ProviderConfig
from ...root_files import API_KEYS_FILE, USER_FILE
from ...settings.keys import usual_place
from ...settings.settings import Credentials, Settings, check_key, load_settings, unpaired_error, wants_sandbox
from ...settings.yaml_file import YamlFile
from ...version import VERSION
from ..common import open_root
from ..exit_codes import WRONG_USAGE
from .install import VERSION_FILE, copies_of_pack, pack_folder
from .undelivered import undelivered_images

__all__ = ["run"]

_OLDEST_INVOKE = (6, 13)
_ANSWER_S = 2.0
_EVERYWHERE = ("0.0.0.0", "::")
"""The addresses of all interfaces, at which nothing can be asked."""


def run(root: Path | None) -> int:
    """Print what was found, one line each; returns 0 if nothing is wrong, else 2."""
    root = open_root(root)
    problems = 0

    def tell(good: bool, text: str) -> None:
        nonlocal problems
        problems += not good
        print(f"{'ok   ' if good else 'WRONG'}  {text}")

    print(f"invokeai_external {VERSION}, root {root}")
    is_root = (root / "invokeai.yaml").is_file()
    tell(
        is_root,
        "invokeai.yaml is there" if is_root else "no invokeai.yaml: this is no Invoke root; name one with --root",
    )
    if is_root:
        tell(*_invoke_state(root))
    tell(*_pack_state(root))
    if images := undelivered_images(root):
        tell(True, f"{len(images)} image(s) were paid for and are in no gallery; list them with: undelivered")
    try:
        # As Invoke reads them, which knows nothing of the variables that the providers' own tools read.
        current = load_settings(root, usual_variables=False)
        registry = Registry(current.models)
        for notice in current.notices:
            tell(False, notice.message)
        tell(True, f"{API_KEYS_FILE} and {USER_FILE} can be read; {len(registry.models())} models are known")
        for provider_id in PROVIDER_IDS:
            try:
                tell(*_provider_state(current, registry.provider(provider_id)))
            except NotConfiguredError as error:
                tell(False, str(error))
        is_sandbox = current.sandbox or wants_sandbox(os.environ)
        if not any(found.api_key for found in current.credentials.values()) and not is_sandbox:
            tell(False, "no provider has a key, so Invoke shows none of the models")
    except ExternalError as error:
        tell(False, str(error))
    return WRONG_USAGE if problems else 0


def _provider_state(current: Settings, info: ProviderConfig) -> tuple[bool, str]:
    found = current.credentials.get(info.id, Credentials())
    if found.unpaired:
        return False, str(unpaired_error(info.id, found, current.root))
    url = normalise_base_url(found.base_url or info.base_url, info)
    if found.api_key:
        check_key(info.id, found.api_key.get_secret_value(), found.source)
        return True, f"{info.id}: key from {found.source}; {url}"
    usual = usual_place(info.id, os.environ).key
    only = f" ({usual.source} counts on the command line alone)" if usual else ""
    return True, f"{info.id}: no key; set one with: keys set {info.id}{only}; {url}"


def _invoke_state(root: Path) -> tuple[bool, str]:
    address = _address(root)
    version = _version_at(address)
    if version is None:
        return True, f"no Invoke answers at {address}, so its version is not known"
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < _OLDEST_INVOKE:
        return False, f"the Invoke at {address} is {version}; the pack needs 6.13 or newer"
    return True, f"the Invoke at {address} is {version}"


def _address(root: Path) -> str:
    """Where the root's Invoke is when it runs; where its settings cannot be read, Invoke's usual address."""
    try:
        config = YamlFile(root / "invokeai.yaml").data
    except SettingsError:
        config = {}
    host = str(config.get("host") or "127.0.0.1")
    scheme = "https" if config.get("ssl_certfile") else "http"
    return f"{scheme}://{'127.0.0.1' if host in _EVERYWHERE else host}:{config.get('port') or 9090}"


def _version_at(address: str) -> str | None:
    """What Invoke says of its version at an address; None if none answers there."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{address}/api/v1/app/version", timeout=_ANSWER_S) as answer:
            return str(json.load(answer)["version"])
    # Whatever else may be at that address.
    except (OSError, ValueError, LookupError, TypeError, HTTPException):
        return None


def _pack_state(root: Path) -> tuple[bool, str]:
    copies = copies_of_pack(root)
    if not copies:
        return False, f"the pack is not installed; run: invokeai-external install --root {root}"
    if len(copies) > 1:
        return False, f"the pack is there {len(copies)} times, remove all but one: {', '.join(map(str, copies))}"
    [folder] = copies
    match = re.search(r'VERSION = "([^"]+)"', (folder / VERSION_FILE).read_text(encoding="utf-8"))
    version = match[1] if match else "unknown"
    if version != VERSION:
        install = f"run: invokeai-external install --root {root}"
        mend = install if folder == pack_folder(root) else f"update it there, or remove it and {install}"
        return False, f"the pack in {folder} is {version}, not {VERSION}; {mend}"
    return True, f"the pack {version} is in {folder}"
