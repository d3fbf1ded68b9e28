"""Calls of the time before the record, from the metadata of the images that they made: they count against no limit."""

from __future__ import annotations

import datetime
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..pricing.prices import MAX_USD
from ..untrusted_number import number, whole_number
from ..untrusted_text import ID, NAME, fit_to_show
from .amounts import nano
from .recorded_call import Payer, PlannedCall, RecordedCall, Settlement
from .tables import text

__all__ = ["AlreadyRecorded", "EarlierImage", "earlier_image"]

_MOST_IMAGES = 10_000
"""No call makes more images."""

_FIRST_YEAR, _LAST_YEAR = 2020, 2100
"""No image was made in another year."""


@dataclass(frozen=True, slots=True)
class EarlierImage:
    """An image that was made before, as a row of the record.

    Attributes:
        call: The row; its number and its day are not known yet.
        images_in_call: How many images its call made: so many rows may have its request id.
    """

    call: RecordedCall
    images_in_call: int


def earlier_image(
    metadata: Mapping[str, Any], sha256: str, written_at: float, *, with_prompt: bool = False
) -> EarlierImage | None:
    """An image as a row, from its metadata; None if the metadata does not say which provider and model made it.

    Args:
        metadata: The metadata, which may hold anything.
        sha256: The SHA-256 of its file, in hexadecimal.
        written_at: When its file was written, which counts if the metadata has no time.
        with_prompt: Whether the prompt is recorded.
    """
    external = metadata.get("external")
    if not isinstance(external, Mapping):
        return None
    provider, model = _text(external.get("provider"), ID), _text(external.get("model"), NAME)
    if not provider or not model:
        return None
    cost = number(external.get("cost_usd"), 0, MAX_USD)
    options = external.get("options")
    prompt = metadata.get("positive_prompt")
    made_at = _time(external.get("created")) or written_at
    call = RecordedCall(
        id=0,
        call=PlannedCall(
            provider=provider,
            model=model,
            n=1,
            expected=None,
            at_most=None,
            basis="unknown",
            size=_text(external.get("size"), ID),
            quality=_text(options.get("quality"), ID) if isinstance(options, Mapping) else None,
            prompt=prompt if with_prompt and isinstance(prompt, str) else None,
        ),
        payer=Payer(host="import"),
        end=Settlement(
            state="charged",
            cost=nano(cost),
            cost_from=_text(external.get("cost_from"), ID),
            images=1,
            image_hashes=(sha256,),
            request_id=_text(external.get("request_id"), NAME),
        ),
        started_at=made_at,
        settled_at=made_at,
        day="",
        sandbox=_is_from_sandbox(external.get("notices")),
        imported=True,
    )
    return EarlierImage(call, whole_number(external.get("images_in_call"), 1, _MOST_IMAGES) or 1)


class AlreadyRecorded:
    """Which images are in the record already, so that each is counted once.

    An image is known by the hash of its file. A copy with other bytes, such as Invoke's, is known by its request:
    those of the record's own calls are all in it, and of an earlier call there are as many as it made.

    Args:
        db: The record.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._hashes: set[str] = set()
        self._own: set[str] = set()
        self._imported: Counter[str] = Counter()
        for hashes, request, imported in db.execute("SELECT hashes, request_id, imported FROM calls"):
            self._note((text(hashes) or "").split(), text(request), is_imported=bool(imported))

    def takes(self, image: EarlierImage) -> bool:
        """True if an image is not in the record yet; from then on, it counts as being there."""
        [sha256], request = image.call.end.image_hashes, image.call.end.request_id
        if sha256 in self._hashes or request in self._own:
            return False
        if request and self._imported[request] >= image.images_in_call:
            return False
        self._note([sha256], request, is_imported=True)
        return True

    def _note(self, hashes: Iterable[str], request: str | None, *, is_imported: bool) -> None:
        self._hashes.update(hashes)
        if request and is_imported:
            self._imported[request] += 1
        elif request:
            self._own.add(request)


def _is_from_sandbox(notices: object) -> bool:
    return isinstance(notices, list) and any(
        isinstance(notice, Mapping) and notice.get("code") == "sandbox" for notice in notices
    )


def _text(value: object, length: int) -> str | None:
    return fit_to_show(value, length) or None


def _time(text: object) -> float | None:
    if isinstance(text, str):
        with suppress(ValueError, OverflowError):
            found = datetime.datetime.fromisoformat(text)
            found = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
            return found.timestamp() if _FIRST_YEAR <= found.year <= _LAST_YEAR else None
    return None
