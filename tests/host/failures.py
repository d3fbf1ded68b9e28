"""What a failed queue item says."""

from __future__ import annotations

import json
import re

from invokeai_external.errors import ExternalError

from ..support.guard import CANARY
from .invoke import Json


def message_of(item: Json, expected: type[ExternalError] | None = None) -> str:
    """The message of a failed queue item.

    It must be one line for people, without a key, and of the expected error class or of any of ours.
    """
    message: str = item["error_message"]
    if expected:
        assert item["error_type"] == expected.__name__, message
    assert message
    assert "\n" not in message
    for sign in ("Traceback", 'File "', "{", "Error:", "Exception", "object at 0x", "validation error"):
        assert sign not in message
    assert len(message) < 600
    assert not message[0].islower()
    # A remedy may end in a URL or in a command.
    assert message.endswith((".", "!", "?", ")", "…")) or re.search(
        r"(https://\S+|: invokeai-external [a-z ]+)$", message
    )
    assert CANARY not in json.dumps(item)
    return message
