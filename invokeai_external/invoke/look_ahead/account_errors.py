"""Errors of an account, which every further request of a batch would get as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from ...errors import AuthenticationError, ProviderError, QuotaError
from ...settings.settings import Credentials
from ..queue_items import ItemId, QueuedItem

__all__ = ["HOLD_S", "AccountErrors"]

HOLD_S = 10.0
"""For how many seconds an error holds for a batch: the items behind it fail within that time, and those of a paused
queue may be run after credit was added."""


@dataclass(frozen=True, slots=True)
class _Found:
    error: ProviderError
    last: int
    until: float
    credentials: Credentials | None


class AccountErrors:
    """The last error of this kind of each batch and provider: while it holds, nothing more of the batch is sent there.

    It does not hold for another key, nor for items that were queued later, such as by *Retry*.

    Args:
        queued_items: The items that have not ended.
        credentials: The key and the base URL that a provider has now; raises an ExternalError.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        queued_items: Callable[[], Iterable[QueuedItem]],
        credentials: Callable[[str], Credentials | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queued_items, self._credentials, self._clock = queued_items, credentials, clock
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], _Found] = {}

    def add(self, item: ItemId, provider: str, error: BaseException) -> None:
        """Note how a request of an item failed; errors of other kinds say nothing about the next request. Never raises:
        without a note, more requests are sent, and images that have arrived are still to be stored.
        """
        # What a key may not do can depend on the prompt or on an option.
        if not isinstance(error, AuthenticationError | QuotaError) or error.status == 403:
            return
        now = self._clock()
        with suppress(Exception):
            last = max((queued.id.number for queued in self._queued_items()), default=item.number)
            credentials = self._credentials(provider)
            with self._lock:
                self._found = {key: found for key, found in self._found.items() if found.until > now}
                self._found[item.batch, provider] = _Found(error, last, now + HOLD_S, credentials)

    def of(self, item: ItemId, provider: str) -> ProviderError | None:
        """The error that a request of an item would get now, as one of a request that was not sent."""
        with self._lock:
            found = self._found.get((item.batch, provider))
        if found is None or item.number > found.last or found.until <= self._clock():
            return None
        if found.credentials != self._credentials(provider):
            return None
        return found.error.replace(never_sent=True)
