"""``doctor``: what is installed in an Invoke root, which keys are set, what is wrong and how to mend it."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import ExternalError
from ..registry import PROVIDER_IDS, Registry
from ..settings import API_KEYS_FILE, USER_FILE
from ..version import VERSION
from . import report
from .context import settings
from .install import pack_folder

__all__ = ["run"]


def run(root: Path) -> int:
    """Print what was found, one line each; returns 0 if nothing is wrong, else 2."""
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
    tell(*_pack_state(root))
    try:
        current = settings(root)
        registry = Registry(current.models)
        for notice in current.notices:
            tell(False, notice.message)
        tell(True, f"{API_KEYS_FILE} and {USER_FILE} can be read; {len(registry.models())} models are known")
        for provider_id in PROVIDER_IDS:
            found, provider = current.credentials[provider_id], registry.provider(provider_id)
            url = provider.normalise_base_url(found.base_url or provider.info.base_url)
            key = f"key from {found.source}" if found.api_key else f"no key; set one with: keys set {provider_id}"
            tell(True, f"{provider_id}: {key}; {url}")
        if not any(found.api_key for found in current.credentials.values()) and not current.sandbox:
            tell(False, "no provider has a key, so Invoke shows none of the models")
    except ExternalError as error:
        tell(False, str(error))
    return report.WRONG_USAGE if problems else 0


def _pack_state(root: Path) -> tuple[bool, str]:
    folder = pack_folder(root)
    version_file = folder / "invokeai_external" / "version.py"
    if not version_file.is_file():
        return False, f"the pack is not installed; run: invokeai-external install --root {root}"
    match = re.search(r'VERSION = "([^"]+)"', version_file.read_text(encoding="utf-8"))
    version = match[1] if match else "unknown"
    if version != VERSION:
        return False, f"the pack in {folder} is {version}, not {VERSION}; run: invokeai-external install --root {root}"
    return True, f"the pack {version} is in {folder}"
