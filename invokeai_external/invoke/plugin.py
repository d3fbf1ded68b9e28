"""How the pack comes and goes: what is put into Invoke when it loads, and taken out again when it is uninstalled."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

from ..errors import ExternalError
from ..providers.registry import PROVIDER_IDS, Registry
from ..service import in_flight
from . import core_compatibility
from .host.canvas import on_canvas_item_ended, on_items_read, tell_canvas
from .host.config import invoke_root, log, on_key_change
from .host.lifecycle import added_routes, on_started, on_stop, on_unregister, services_exist
from .host.model_records import on_model_deleted, on_model_installed, replaced_starter_models, starter_models
from .host.nodes import node_pack_of, plain_failures, replaced_nodes
from .host.queue import on_batch, on_queue_change, paused_queue, queued_items, repair_queue
from .look_ahead.sent_items import Item
from .models.records import InvokeModelStore, starter_model
from .models.sync import ModelSync
from .page.canvas_refresh import CanvasRefresh
from .routes import router_of
from .runtime import Runtime

__all__ = ["activate", "runtime"]

_active: Pack | None = None


def activate(pack_name: str) -> None:
    """Put everything in; if it is in already (Invoke reloads its packs), take it out before."""
    global _active
    other = node_pack_of(core_compatibility.NODE_TYPES[0])
    if other not in (None, "invokeai", pack_name):
        log.error(
            "%s stays off: the node %s is replaced by the node pack %s already. Remove one of the two folders.",
            pack_name,
            core_compatibility.NODE_TYPES[0],
            other,
        )
        return
    if _active:
        _active.close()
    _active = Pack(pack_name)


def runtime() -> Runtime:
    """The running service; the nodes exist only while there is one."""
    assert _active is not None
    return _active.runtime


class Pack:
    """Everything that the pack puts into Invoke: all of it, or if something is missing there nothing."""

    def __init__(self, name: str) -> None:
        self.runtime = Runtime()
        self._lock = threading.Lock()
        self._closed = False
        with ExitStack() as stack:
            stack.callback(self.runtime.close)
            built_in = starter_models(PROVIDER_IDS)
            self._starters = stack.enter_context(ExitStack())
            # Until Invoke has started its list holds no model of these providers, see ``replaced_starter_models``.
            self._starters.enter_context(replaced_starter_models(PROVIDER_IDS, []))
            self.sync = ModelSync(
                self.runtime.registry, self.runtime.providers, InvokeModelStore(built_in), invoke_root()
            )
            stack.enter_context(on_key_change(lambda: _in_background(self.sync.run)))
            stack.enter_context(on_model_installed(self.sync.run))
            stack.enter_context(on_model_deleted(self.sync.model_deleted))
            stack.enter_context(on_unregister(name, self.close))
            stack.enter_context(added_routes(router_of(self.runtime)))
            stack.enter_context(plain_failures(ExternalError))
            stack.enter_context(_refreshed_canvas())
            self._starting = stack.enter_context(ExitStack())
            if not services_exist():
                stack.enter_context(on_started(self._begin))
                self._starting.enter_context(paused_queue())
            stack.enter_context(on_batch(_repair_queue))
            stack.enter_context(on_stop(self.runtime.stop_begins, self.runtime.stop_ends))
            # Behind it, since looking ahead stands in place of the same function: the last one in is the first one out.
            self._later = stack.enter_context(ExitStack())
            # Last, since Invoke tells in its log of every node that is replaced, and again of its way back.
            stack.enter_context(replaced_nodes(core_compatibility.NODE_TYPES, _our_nodes))
            # Before the core's nodes are back, which read what is stored from then on.
            stack.callback(_repair_queue)
            self._stack = stack.pop_all()
        if services_exist():
            _in_background(self._begin)

    def close(self) -> None:
        """Take everything out again."""
        global _active
        with self._lock:
            self._closed = True
        self.sync.close()
        self._stack.close()
        if _active is self:
            _active = None

    def _begin(self) -> None:
        """Show our models in the list of starter models, and bring the installed ones up to date."""
        _repair_queue()
        # Before anything is taken from the queue.
        self._tell_of_the_last_end()
        with self._lock:
            self._starting.close()
        try:
            shown = [starter_model(m) for m in self.runtime.registry().models() if m.lifecycle.status != "retired"]
        except ExternalError as error:
            log.error("invokeai_external: %s", error)
            shown = [starter_model(m) for m in Registry().models() if m.lifecycle.status != "retired"]
        with self._lock:
            # Uninstalled right after it was installed: nobody would take the list out again.
            if self._closed:
                return
            self._starters.close()
            self._starters.enter_context(replaced_starter_models(PROVIDER_IDS, shown))
        self.sync.run()
        self._speed_up()
        self._deliver_old()

    def _deliver_old(self) -> None:
        try:
            self.runtime.deliver_old()
        except Exception as error:
            log.warning("invokeai_external could not look through the kept images: %s", error)

    def _tell_of_the_last_end(self) -> None:
        """Say of which calls an Invoke before this one left no answer."""
        sent = self.runtime.sent
        try:
            left = in_flight.left_behind(invoke_root())
            # Not in the words of the command line, where nothing waits in a queue to be sent again.
            for (provider, model), count in Counter((call.provider, call.model) for call in left.calls).items():
                log.warning(
                    "invokeai_external: %s call(s) to %s/%s were in flight when Invoke ended and may have been billed.",
                    *(count, provider, model),
                )
            for notice in in_flight.notices_of(replace(left, calls=())):
                log.warning("invokeai_external: %s", notice.message)
            sent.retain({Item(item.number, item.batch) for item in queued_items()})
        # The queue waits for this, and must not wait for ever.
        except Exception as error:
            log.warning("invokeai_external could not look what an earlier Invoke left: %s", error)
        if doubtful := sent.doubtful():
            log.warning(
                "invokeai_external: %s item(s) of the queue were sent before and not answered when Invoke ended. They"
                " are sent again at their turn and may be billed twice; to avoid that, cancel them in the queue: %s.",
                len(doubtful),
                ", ".join(str(item.number) for item in doubtful),
            )

    def _speed_up(self) -> None:
        """Keep the queue from waiting for more than it must, as far as the settings say so."""
        try:
            limits = self.runtime.settings().limits
        except ExternalError:
            # Told above; every run tells it as well.
            return
        with self._lock:
            if self._closed:
                return
            if limits.freeze_gc:
                self._later.enter_context(_frozen_gc())
            if limits.look_ahead:
                self._later.enter_context(_looking_ahead(self.runtime))
            else:
                # What is written down there of items that have ended since goes.
                self.runtime.sent.open()
                self.runtime.sent.close()


@contextmanager
def _refreshed_canvas() -> Iterator[None]:
    """Keep the Canvas from missing what ends while the page reads its list."""

    def later(seconds: float, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, callback)

    refresh = CanvasRefresh(tell_canvas, later)
    with (
        closing(refresh),
        on_items_read(refresh.list_requested),
        on_canvas_item_ended(refresh.item_ended),
    ):
        yield


@contextmanager
def _frozen_gc() -> Iterator[None]:
    """Take all that is in memory now out of the garbage collections to come.

    Invoke collects before each item of its queue, and its million objects from the start cost half a second each time.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _looking_ahead(runtime: Runtime) -> Iterator[None]:
    # It imports the nodes, see below.
    from .look_ahead.look_ahead import LookAhead

    with ExitStack() as stack:
        look_ahead = LookAhead(runtime)
        stack.callback(look_ahead.close)
        stack.enter_context(on_stop(look_ahead.end, look_ahead.close))
        stack.enter_context(on_queue_change(look_ahead.wake))
        yield


def _repair_queue(batch: str | None = None) -> None:
    """Have only what the core's own classes accept stored in the queue, see ``core_nodes``.

    Our nodes store nothing else; what is repaired was stored by a 0.1, or written into stored nodes by *batch data*.
    """
    if not services_exist():
        return
    try:
        count = repair_queue(core_compatibility.NODE_TYPES, core_compatibility.repaired, batch=batch)
    # Neither the pack nor Invoke's own start or uninstall may fail over it.
    except Exception as error:
        log.warning("invokeai_external could not look through the queue: %s", error)
        return
    if count and batch is None:
        log.info(
            "invokeai_external: %s items of the queue are now stored so that Invoke can read them without it.", count
        )


def _our_nodes() -> Sequence[type[Any]]:
    # Their first import registers them, so it comes when all else is in.
    from .nodes import NODES

    return NODES


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="invokeai_external models", daemon=True).start()
