"""Errors of an account, which every further request of a batch would get as well."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from ...errors import AuthenticationError, ExternalError, ProviderError, QuotaError
from ...settings.settings import Credentials

__all__ = ["HOLD_S", "AccountErrors"]

HOLD_S = 10.0
"""For how many seconds an error holds for a batch: the items behind it fail within that time, and whoever adds credit
or corrects a key and presses *Retry* takes longer."""


@dataclass(frozen=True, slots=True)
class _Found:
    error: ProviderError
    until: float
    credentials: Credentials | None


class AccountErrors:
    """The last error of this kind of each batch and provider: while it holds, nothing more of the batch is sent there.

    It does not hold for another key.

    Args:
        credentials: The key and the base URL that a provider has now; raises an ExternalError.
        clock: Seconds that only go up.
    """

    def __init__(
        self, credentials: Callable[[str], Credentials | None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._credentials, self._clock = credentials, clock
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], _Found] = {}

    def add(self, batch: str, provider: str, error: ExternalError) -> None:
        """Note how a request of a batch failed; errors of other kinds say nothing about the next request."""
        if not isinstance(error, AuthenticationError | QuotaError):
            return
        now = self._clock()
        with suppress(ExternalError):
            credentials = self._credentials(provider)
            with self._lock:
                self._found = {key: found for key, found in self._found.items() if found.until > now}
                self._found[batch, provider] = _Found(error, now + HOLD_S, credentials)

    def of(self, batch: str, provider: str) -> ProviderError | None:
        """The error that a request of a batch would get now, as one of a request that was not sent."""
        with self._lock:
            found = self._found.get((batch, provider))
        if found is None or found.until <= self._clock() or found.credentials != self._credentials(provider):
            return None
        return found.error.replace(never_sent=True)
