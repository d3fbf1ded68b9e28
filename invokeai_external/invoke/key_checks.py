"""What the providers said of the keys when they were last asked, which is free of charge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import AuthenticationError, ExternalError, NotConfiguredError, UnknownProviderError
from ..result import ConnectionCheck
from ..settings.keys import is_plausible_key
from ..settings.settings import Credentials
from .log import log

__all__ = ["KeyCheck", "KeyChecks", "status_text"]


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What a provider said.

    Attributes:
        accepted: True if it accepted the key, False if not; None if that is not known, such as without a connection.
        message: What it said, or why that is not known.
        hint: What to do; None if nothing has to be done.
        at: When, in seconds since the epoch.
    """

    accepted: bool | None
    message: str
    hint: str | None
    at: float


class KeyChecks:
    """The last check of each key. A check of another key or another base URL does not count.

    Args:
        check: Asks a provider for its list of models, within some seconds; raises an ExternalError.
        credentials: The keys and base URLs as they are now.
        clock: Seconds since the epoch.
        changed: Called when a key is known as not accepted, and when it no longer is.
    """

    def __init__(
        self,
        check: Callable[[str], ConnectionCheck],
        credentials: Callable[[], Mapping[str, Credentials]],
        clock: Callable[[], float],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._check, self._credentials, self._clock, self._changed = check, credentials, clock, changed
        self._lock = threading.Lock()
        self._found: dict[str, tuple[Credentials | None, KeyCheck]] = {}

    def run(self, provider: str) -> KeyCheck:
        """Ask a provider now, and log what it said; raises UnknownProviderError."""
        known, was_refused = self._credentials().get(provider), self.is_refused(provider)
        try:
            found = KeyCheck(True, self._check(provider).message, None, self._clock())
        except UnknownProviderError:
            raise
        except ExternalError as error:
            found = KeyCheck(_accepted(error, known), error.message, error.hint, self._clock())
        if self._credentials().get(provider) != known:
            # The key was changed meanwhile, and the new one may have been checked.
            return found
        with self._lock:
            self._found[provider] = (known, found)
        report = log.info if found.accepted else log.warning
        report("invokeai_external: %s", " ".join(filter(None, (found.message, found.hint))))
        if self.is_refused(provider) != was_refused:
            self._changed()
        return found

    def last(self, provider: str) -> KeyCheck | None:
        """The last check of the key that a provider has now; None if that key was not checked."""
        with self._lock:
            credentials, found = self._found.get(provider, (None, None))
        return found if credentials == self._credentials().get(provider) else None

    def is_refused(self, provider: str) -> bool:
        """True if a provider did not accept the key that it has now."""
        found = self.last(provider)
        return found is not None and found.accepted is False


def _accepted(error: ExternalError, known: Credentials | None) -> bool | None:
    """What an error says of the key: only that it was refused, or that nobody could accept it."""
    if isinstance(error, AuthenticationError):
        # A key that may not list models may still make images.
        return None if error.status == 403 else False
    key = known.api_key if known else None
    is_wrong = isinstance(error, NotConfiguredError) and key and not is_plausible_key(key.get_secret_value())
    return False if is_wrong else None


def status_text(provider_name: str, check: KeyCheck) -> str:
    """The result of a check in one sentence, for everybody: what a provider says may be about the account."""
    if check.accepted is None:
        return f"The key for {provider_name} could not be checked."
    return f"{provider_name} accepts the key." if check.accepted else f"{provider_name} did not accept the key."
