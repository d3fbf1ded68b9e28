"""Reports the calls that had no response when Invoke stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ..service.interrupted_calls import interrupted_calls
from ..settings.settings import Settings
from .host_api import Host
from .log import calls_were, log
from .look_ahead.sent_record import SentItems

__all__ = ["log_interrupted_calls", "report_unanswered"]


def log_interrupted_calls(settings: Settings) -> None:
    """Log the calls of killed programs, which may have been billed, each once."""
    # Not the command line's sentence: here the items that wait in the queue are sent again.
    for model, count in Counter(one.call.reference for one in interrupted_calls(settings)).items():
        log.warning(
            "invokeai_external: %s in flight when the program was killed and may have been billed.",
            calls_were(count, model),
        )


def report_unanswered(host: Host, settings: Callable[[], Settings], sent_items: SentItems) -> None:
    """Log the calls that may have been billed, and the queued items that send theirs again. Never raises."""
    try:
        log_interrupted_calls(settings())
        sent_items.retain({item.id for item in host.queued_items()})
    # The queue waits for this, and must not wait forever.
    except Exception as error:
        log.warning("invokeai_external could not read which calls had no response when Invoke stopped: %s", error)
    if unconfirmed := sent_items.unconfirmed():
        log.warning(
            "invokeai_external: Invoke stopped before the responses to these items of the queue arrived: %s. Each is"
            " sent again at its turn, and the provider may bill both requests. An item that is cancelled in the queue"
            " before its turn is not sent again.",
            ", ".join(str(item.number) for item in unconfirmed),
        )
