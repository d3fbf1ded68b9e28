"""Retries a call until it succeeds or a retry is pointless; a wait holds all calls of the model."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import anyio

from ..errors import ProviderError
from ..transport.retry_policy import RetryPolicy, pauses_model, seconds_before_retry

__all__ = ["Attempts"]

_Answered = TypeVar("_Answered")

_LONGEST_HOLD_S = 120.0
"""The longest hold on a model, whatever a provider asks for; then the next call may try."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """No call goes to a model for a while.

    Attributes:
        until: When the hold ends, on the service's clock.
        asked_until: What the provider asked for, which may be much later.
        reason: The error that asked for it.
    """

    until: float
    asked_until: float
    reason: ProviderError


class Attempts:
    """The slots of the providers and the holds on their models.

    Args:
        concurrency: The most calls in flight to each provider, by its id.
        policy: When to try again.
        clock: Seconds that only go up.
        sleep: Waits for so many seconds.
        check_open: Raises if the service was closed meanwhile.
    """

    def __init__(
        self,
        concurrency: Mapping[str, int],
        policy: RetryPolicy,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        check_open: Callable[[], None],
    ) -> None:
        self._policy, self._clock, self._sleep, self._check_open = policy, clock, sleep, check_open
        self._slots = {provider: anyio.CapacityLimiter(most) for provider, most in concurrency.items()}
        self._holds: dict[str, _Hold] = {}

    async def run(
        self,
        once: Callable[[int], Awaitable[_Answered]],
        on_wait: Callable[[float, ProviderError], None],
        *,
        provider: str,
        model: str,
    ) -> _Answered:
        """Try until it works or another try is pointless.

        Each try takes a slot of the provider and gives it back for the wait, so that other models go on meanwhile.

        Args:
            once: Tries once, given the number of the try.
            on_wait: Called before each wait, with its seconds and its reason.
            provider: The provider's id.
            model: The model's reference.

        Raises:
            ProviderError: The error of the last try.
        """
        tries, waited_s = 0, 0.0
        while True:
            try:
                if held := self.held(model):
                    raise held
                async with self._slots[provider]:
                    # While this call waited for its slot, another one may have been asked to wait.
                    if held := self.held(model):
                        raise held
                    self._check_open()
                    tries += 1
                    return await once(tries)
            except ProviderError as error:
                if not held and pauses_model(error):
                    self.hold(model, error)
                wait_s = seconds_before_retry(
                    error, attempt=tries, waited_s=waited_s, policy=self._policy, jitter=random.random()
                )
                on_wait(wait_s, error)
            await self._sleep(wait_s)
            waited_s += wait_s

    def hold(self, model: str, error: ProviderError) -> None:
        """Have all calls of a model wait for as long as one of them was asked to, within reason."""
        asked_s, now = error.retry_after or 0.0, self._clock()
        hold = self._holds.get(model)
        # A hold that is over says nothing any more, however long it was asked to be.
        if hold is None or hold.until <= now or hold.asked_until < now + asked_s:
            self._holds[model] = _Hold(
                until=now + min(asked_s, _LONGEST_HOLD_S), asked_until=now + asked_s, reason=error
            )

    def held(self, model: str) -> ProviderError | None:
        """The error that put a model on hold, with the rest of the wait; None if there is no hold on it."""
        hold, now = self._holds.get(model), self._clock()
        if hold is None or hold.until <= now:
            return None
        return hold.reason.replace(retry_after=hold.asked_until - now)
