"""Compares a provider's own list of models with the catalogue. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .schema import ModelConfig

__all__ = ["ListingCheck", "compare_listing", "is_listed"]

_MAKES_IMAGES = re.compile(r"image|banana|dall-e", re.IGNORECASE)
"""What the ids of both providers' image models have in common; Gemini's *imagen* models have another API."""

_OTHER_API = re.compile(r"imagen", re.IGNORECASE)

_USABLE_ID = re.compile(r"[A-Za-z0-9][\w./-]{0,127}", re.ASCII)
"""An id that may be written into a settings file; providers' own ids have this form."""

_SNAPSHOT = re.compile(r"-(?:[\d-]+|latest)")
"""What a snapshot has after the id of its model: a date or a number."""


@dataclass(frozen=True, slots=True)
class ListingCheck:
    """A provider's list of models beside the catalogue. Each id is in one of the lists at most.

    Attributes:
        listed: The ids of the catalogue that the provider lists and that are available.
        new: The ids that look like image models and are not in the catalogue, snapshots of known models excepted.
        gone: The ids that are not listed and whose last day in the catalogue has passed, confirmed or not.
        only_in_catalogue: The other ids that are not listed. Lists may lag days behind, so this proves nothing.
        still_listed: The ids that the catalogue takes for retired and that are listed.
    """

    listed: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    only_in_catalogue: tuple[str, ...]
    still_listed: tuple[str, ...]


def is_listed(model: ModelConfig, listed: Collection[str]) -> bool:
    """True if a list of ids has a model, under the provider's name for it or an alias."""
    return any(name in listed for name in (model.sent_id, *model.aliases))


def compare_listing(listed: Collection[str], models: Sequence[ModelConfig], day: datetime.date) -> ListingCheck:
    """Compare a list of ids with the known models of the same provider, which have their status of the day."""
    known = {name for model in models for name in (model.id, model.sent_id, *model.aliases)}
    found = [model for model in models if is_listed(model, listed)]
    missing = [model for model in models if not is_listed(model, listed)]
    return ListingCheck(
        listed=tuple(m.id for m in found if m.lifecycle.status != "retired"),
        new=tuple(sorted(name for name in listed if name not in known and _is_new(name, known))),
        gone=tuple(m.id for m in missing if m.lifecycle.may_have_ended(day)),
        only_in_catalogue=tuple(m.id for m in missing if not m.lifecycle.may_have_ended(day)),
        still_listed=tuple(m.id for m in found if m.lifecycle.status == "retired"),
    )


def _is_new(name: str, known: Collection[str]) -> bool:
    if not _USABLE_ID.fullmatch(name) or not _MAKES_IMAGES.search(name) or _OTHER_API.search(name):
        return False
    return not any(name.startswith(one) and _SNAPSHOT.fullmatch(name[len(one) :]) for one in known)
