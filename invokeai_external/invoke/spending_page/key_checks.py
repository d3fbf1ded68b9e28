"""What the providers said of the keys when they were last asked, which is free of charge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...errors import ExternalError, UnknownProviderError
from ...result import ConnectionCheck
from ...settings.settings import Credentials

__all__ = ["KeyCheck", "KeyChecks"]


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What a provider said.

    Attributes:
        ok: True if it accepted the key.
        message: What it said.
        hint: What to do; None if nothing has to be done.
        at: When, in seconds since the epoch.
    """

    ok: bool
    message: str
    hint: str | None
    at: float


class KeyChecks:
    """The last check of each key. A check of another key or another base URL does not count.

    Args:
        check: Asks a provider for its list of models; raises an ExternalError.
        credentials: The keys and base URLs as they are now.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        check: Callable[[str], ConnectionCheck],
        credentials: Callable[[], Mapping[str, Credentials]],
        clock: Callable[[], float],
    ) -> None:
        self._check, self._credentials, self._clock = check, credentials, clock
        self._lock = threading.Lock()
        self._found: dict[str, tuple[Credentials | None, KeyCheck]] = {}

    def run(self, provider: str) -> KeyCheck:
        """Ask a provider now; raises UnknownProviderError."""
        known = self._credentials().get(provider)
        try:
            found = KeyCheck(True, self._check(provider).message, None, self._clock())
        except UnknownProviderError:
            raise
        except ExternalError as error:
            found = KeyCheck(False, error.message, error.hint, self._clock())
        with self._lock:
            self._found[provider] = (known, found)
        return found

    def last(self, provider: str) -> KeyCheck | None:
        """The last check of the key that a provider has now; None if that key was not checked."""
        with self._lock:
            credentials, found = self._found.get(provider, (None, None))
        return found if credentials == self._credentials().get(provider) else None
