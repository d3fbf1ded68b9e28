"""Errors of an account, which every further request of a batch would get as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...errors import AuthenticationError, ExternalError, ProviderError, QuotaError

__all__ = ["HOLD_S", "AccountErrors"]

HOLD_S = 10.0
"""For how many seconds an error holds for a batch: the items behind it fail within that time, and whoever adds credit
or corrects a key and presses *Retry* takes longer."""


class AccountErrors:
    """The last error of this kind of each batch and provider: while it holds, nothing more of the batch is sent there.

    Args:
        clock: Seconds that only go up.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], tuple[float, ProviderError]] = {}

    def add(self, batch: str, provider: str, error: ExternalError) -> None:
        """Note how a request of a batch failed; errors of other kinds say nothing about the next request."""
        if not isinstance(error, AuthenticationError | QuotaError):
            return
        now = self._clock()
        with self._lock:
            self._found = {key: found for key, found in self._found.items() if found[0] + HOLD_S > now}
            self._found.setdefault((batch, provider), (now, error))

    def of(self, batch: str, provider: str) -> ProviderError | None:
        """The error that a request of a batch would get now, as one of a request that was not sent."""
        with self._lock:
            found = self._found.get((batch, provider))
        if found is None or found[0] + HOLD_S <= self._clock():
            return None
        return found[1].replace(never_sent=True)
