"""Reports progress to the user's ``on_progress``, whatever that raises."""

from __future__ import annotations

from collections.abc import Callable

from anyio.abc import TaskGroup

from ..progress import Progress, Received

__all__ = ["Listener", "ListenerFailedError"]


class ListenerFailedError(Exception):
    """``on_progress`` raised, which ends the request; ``Listener.error`` is what it raised."""


class Listener:
    """Calls ``on_progress`` and keeps what it raises until the calls have ended.

    It may raise anything, KeyboardInterrupt too, which would end the event loop if it left a task.

    Attributes:
        error: What it raised first; None if nothing.
    """

    def __init__(self, on_progress: Callable[[Progress], None], group: TaskGroup) -> None:
        self.error: BaseException | None = None
        self._on_progress = on_progress
        self._group = group

    def __call__(self, event: Progress) -> None:
        # Images that have arrived are handed over even then.
        if self.error and not isinstance(event, Received):
            raise ListenerFailedError
        try:
            self._on_progress(event)
        except BaseException as error:
            self.error = self.error or error
            self._group.cancel_scope.cancel()
            raise ListenerFailedError from None
