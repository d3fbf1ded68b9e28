"""The names of the files and folders in a root folder. They never change: they hold people's keys and images."""

from __future__ import annotations

__all__ = [
    "API_KEYS_FILE",
    "DISCOVERED_FILE",
    "KEPT_FOLDER",
    "KEYS_FILE",
    "ORIGINALS_FOLDER",
    "RESCUED_FOLDER",
    "SPENDING_FILE",
    "USER_FILE",
]

API_KEYS_FILE = "api_keys.yaml"
"""Invoke's own file of keys."""

KEYS_FILE = "invokeai_external_keys.yaml"
"""The keys of the providers that Invoke does not know: Invoke's own writer would drop them."""

USER_FILE = "invokeai_external.yaml"
"""The settings of this program."""

DISCOVERED_FILE = "invokeai_external_discovered.json"
"""The models that providers list themselves, as they were last asked."""

SPENDING_FILE = "invokeai_external_spending.sqlite3"
"""What calls have cost and may cost, unless the setting ``spending_record`` names another file."""

KEPT_FOLDER = "invokeai_external_kept"
"""Paid results that no node has fetched."""

RESCUED_FOLDER = "invokeai_external_rescued"
"""Images that Invoke's gallery did not accept."""

ORIGINALS_FOLDER = "invokeai_external_originals"
"""The files of signed images as they arrived."""
