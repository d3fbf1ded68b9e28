"""Adds everything to Invoke when the plugin is loaded, and removes it when the plugin is uninstalled."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

from ..errors import ExternalError
from ..providers.built_in import built_in_ids
from ..version import VERSION
from . import active_plugin, core_compatibility
from .host.canvas import notify_canvas, on_canvas_item_ended, on_items_read
from .host.config import on_key_change, provider_messages, web_url
from .host.invoke_host import InvokeHost
from .host.lifecycle import added_routes, on_started, on_stop, on_unregister, services_exist
from .host.model_records import (
    StarterModels,
    delete_model,
    model_records,
    on_model_deleted,
    on_model_installed,
    ordered_models,
)
from .host.nodes import (
    node_pack_of,
    plain_failures,
    register_outputs,
    replaced_nodes,
    substituted_node,
    unregister_nodes,
)
from .host.queue import delete_items, on_batch, on_queue_change, paused_queue, repair_queue
from .interrupted_calls import report_unanswered
from .key_checks import KeyChecks, status_text
from .log import log
from .look_ahead.queue_watcher import QueueWatcher
from .look_ahead.send_early import LookAhead
from .models.carriers import PLAIN_NODE
from .models.records import InvokeModelStore
from .models.sync import ModelSync
from .page.canvas_refresh import CanvasRefresh
from .remedies import shown_text
from .routes import router_of
from .runtime import Runtime
from .spending_page.routes import page_router

__all__ = ["Plugin", "activate"]

_plugin: Plugin | None = None


def activate(pack_name: str) -> None:
    """Add everything; if it is there already (Invoke reloads its packs), remove it first."""
    global _plugin
    other = node_pack_of(core_compatibility.NODE_TYPES[0])
    if other not in (None, "invokeai", pack_name):
        log.error(
            "%s is off, since the node pack %s already replaces the node %s. Remove one of the two folders.",
            pack_name,
            other,
            core_compatibility.NODE_TYPES[0],
        )
        return
    if _plugin:
        # In between, the core's nodes would send carried models to their carrier.
        with paused_queue():
            _plugin.close()
            _plugin = Plugin(pack_name)
    else:
        _plugin = Plugin(pack_name)
    log.info("%s %s is on: its nodes OpenAI Image and Gemini Image replace Invoke's own.", pack_name, VERSION)


class Plugin:
    """Everything that the pack adds to Invoke: all of it, or nothing if this Invoke lacks something."""

    def __init__(self, pack_name: str) -> None:
        self._host = InvokeHost(_our_node)
        self._runtime = Runtime(self._host, settings_changed=lambda: _in_background(self._update_models))
        self._checks = KeyChecks(
            self._runtime.check_connection,
            # What the sandbox accepts says nothing of a key.
            lambda: {} if self._runtime.sandbox() else self._runtime.settings().credentials,
            time.time,
            # The models' descriptions say it.
            changed=lambda: _in_background(self._sync.run),
        )
        self._lock = threading.Lock()
        self._closed = False
        self._is_uninstalled = False
        self._was_there_at_start = not services_exist()
        with ExitStack() as stack:
            # Last, since Invoke cannot store the end of an item whose nodes it does not know.
            stack.callback(unregister_nodes, pack_name)
            stack.callback(self._delete_items_if_uninstalled)
            stack.callback(self._runtime.close)
            active_plugin.set_runtime(self._runtime)
            stack.callback(active_plugin.set_runtime, None)
            # Until Invoke has started, its list has no model of these providers.
            starters = StarterModels(built_in_ids())
            stack.callback(starters.restore)
            store = InvokeModelStore(starters, self._checks.is_refused)
            self._sync = ModelSync(self._runtime.registry, self._runtime.providers, store, self._host.root)
            stack.enter_context(ordered_models(store.place_of))
            stack.enter_context(
                # Noted at once: a key that is removed and set again would else be there when the sync looks.
                on_key_change(
                    self._sync.key_changed,
                    settled=lambda saved: _in_background(lambda: self._keys_changed(saved)),
                    is_kept=self._runtime.is_carried,
                )
            )
            stack.enter_context(on_model_installed(self._sync.run))
            stack.enter_context(on_model_deleted(self._sync.model_deleted))
            stack.enter_context(provider_messages(self._said_of_key))
            stack.enter_context(on_unregister(pack_name, self._uninstall))
            stack.enter_context(added_routes(router_of(self._runtime, self._checks), page_router()))
            stack.enter_context(plain_failures(ExternalError, _shown))
            stack.enter_context(_canvas_refresh())
            self._starting = stack.enter_context(ExitStack())
            if not services_exist():
                stack.enter_context(on_started(self._begin))
                self._starting.enter_context(paused_queue())
            stack.enter_context(on_batch(_repair_queue))
            stack.enter_context(on_stop(self._stop_begins, self._runtime.stop_ends))
            # After ``on_stop``, since look-ahead wraps the same function: what is wrapped last is unwrapped first.
            self._later = stack.enter_context(ExitStack())
            stack.enter_context(substituted_node(PLAIN_NODE, _our_node))
            # Last, since Invoke logs each node that is replaced, and again when it is replaced back.
            stack.enter_context(replaced_nodes(core_compatibility.NODE_TYPES, _our_nodes))
            register_outputs(_our_outputs())
            # Before the core's nodes are back, which then read what is stored.
            stack.callback(_repair_queue)
            self._stack = stack.pop_all()
        if services_exist():
            _in_background(self._begin)

    def close(self) -> None:
        """Remove everything."""
        global _plugin
        with self._lock:
            self._closed = True
        self._runtime.refuse()
        self._sync.close()
        self._stack.close()
        if _plugin is self:
            _plugin = None

    def _uninstall(self) -> None:
        self._is_uninstalled = True
        # An item in progress sends nothing more, which could only be cancelled.
        self._runtime.refuse()
        self._sync.close()
        # In between, a node of ours that starts would find no runtime.
        with paused_queue():
            try:
                self._delete_carried()
            except Exception as error:
                log.error("invokeai_external could not delete the models of other providers: %s", error)
            self.close()

    def _delete_carried(self) -> None:
        """Delete the carried models, before the core's nodes are back: they would send them to their carrier."""
        for record in model_records() if services_exist() else ():
            if self._runtime.is_carried(record):
                delete_model(record)

    def _delete_items_if_uninstalled(self) -> None:
        """Delete the queue items that Invoke cannot read without our nodes: one of them breaks its list of all."""
        if not self._is_uninstalled or not services_exist():
            return
        try:
            count = delete_items(core_compatibility.has_own_node)
        except Exception as error:
            log.error("invokeai_external could not delete its items of the queue: %s", error)
            return
        if count:
            log.info(
                "invokeai_external: items of the queue with the nodes External Image or External Image Info deleted:"
                " %s.",
                count,
            )

    def _begin(self) -> None:
        """Begin what has to wait until Invoke serves requests."""
        _repair_queue()
        # Before anything is taken from the queue.
        report_unanswered(self._host, self._runtime.settings, self._runtime.sent_items)
        with self._lock:
            self._starting.close()
        log.info("invokeai_external: what images cost, and the limits: %s/external", web_url())
        self._report_missing_keys()
        self._sync.run()
        self._speed_up()
        self._deliver_expired()
        self._report_ending_models()
        self._update_models()

    def _update_models(self) -> None:
        """Bring the installed models up to date, and again if a provider now lists others."""
        self._sync.run()
        try:
            changed = self._runtime.discover_models()
        except ExternalError:
            # Reported by the sync.
            return
        if changed:
            self._sync.run()

    def _keys_changed(self, saved: Set[str]) -> None:
        """Bring the models up to date after a change of keys, and check those of these providers."""
        self._update_models()
        try:
            # The sandbox accepts every key.
            for name in () if self._runtime.sandbox() else sorted(saved & self._runtime.providers()):
                if not (self._closed or self._runtime.is_stopping):
                    self._checks.run(name)
        # A check changes nothing, whatever becomes of it, such as an uninstall at that moment.
        except Exception as error:
            log.warning("invokeai_external: a key could not be checked: %s", error)

    def _said_of_key(self, provider: str) -> str | None:
        """What to say of a provider's key on Invoke's page."""
        try:
            check, known = self._checks.last(provider), self._runtime.settings().providers
        except ExternalError:
            # Reported by the sync.
            return None
        return status_text(known[provider].name, check) if check else None

    def _stop_begins(self) -> None:
        # What it has left is for the next start.
        self._sync.stop()
        self._runtime.stop_begins()

    def _deliver_expired(self) -> None:
        try:
            self._runtime.images.deliver_expired()
        except Exception as error:
            log.warning("invokeai_external could not read the cached images: %s", error)

    def _report_missing_keys(self) -> None:
        # Whoever reads the settings reports what is wrong with them.
        with suppress(ExternalError):
            if not self._runtime.providers():
                log.info(
                    "invokeai_external: no provider has a key, so there are no models yet. Set one in Invoke: Models,"
                    " External Providers."
                )

    def _report_ending_models(self) -> None:
        try:
            found = self._runtime.ending_models()
        # The settings are reported above; another Invoke may store its workflows in another way.
        except Exception as error:
            log.warning("invokeai_external could not look for models that end soon: %s", error)
            return
        for notice in found:
            log.warning("invokeai_external: %s", notice.message)

    def _speed_up(self) -> None:
        """Shorten the waits of the queue, as far as the settings allow it."""
        try:
            freeze_gc = self._runtime.settings().limits.freeze_gc
        except ExternalError:
            # Reported above, and by every run.
            freeze_gc = False
        with self._lock:
            if self._closed or self._runtime.is_stopping:
                return
            # In an Invoke that has run for a while, it would freeze what its runs left behind as well.
            if freeze_gc and self._was_there_at_start:
                self._later.enter_context(_frozen_gc())
            # It asks the settings each time: it may be turned on and off while Invoke runs.
            self._later.enter_context(_look_ahead(self._runtime, self._host))


@contextmanager
def _canvas_refresh() -> Iterator[None]:
    """Make the page reload the Canvas' list, so that it misses no item that ends while it reads the list."""

    def call_later(seconds: float, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, callback)

    refresh = CanvasRefresh(notify_canvas, call_later)
    with (
        closing(refresh),
        on_items_read(refresh.list_requested),
        on_canvas_item_ended(refresh.item_ended),
    ):
        yield


@contextmanager
def _frozen_gc() -> Iterator[None]:
    """Exclude everything that is in memory now from later garbage collections.

    Invoke collects before each item of its queue, which takes half a second for the million objects of its start.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _look_ahead(runtime: Runtime, host: InvokeHost) -> Iterator[None]:
    with ExitStack() as stack:
        watcher = QueueWatcher(LookAhead(runtime, host), runtime.images.deliver_expired)
        stack.callback(watcher.close)
        # As at a stop of Invoke: nothing new is sent, and what is in flight has some seconds to arrive.
        stack.callback(runtime.stop_ends)
        stack.callback(watcher.end)
        stack.enter_context(on_stop(watcher.end, watcher.close))
        stack.enter_context(on_queue_change(watcher.wake))
        yield


def _repair_queue(batch: str | None = None) -> None:
    """Make sure that the queue stores only what the core's own classes accept, see ``core_compatibility``.

    Our nodes store nothing else. What is repaired was stored by version 0.1, or written into stored nodes by *batch
    data*.
    """
    if not services_exist():
        return
    try:
        count = repair_queue(core_compatibility.NODE_TYPES, core_compatibility.repaired, batch=batch)
    # Neither the pack nor Invoke's own start or uninstall may fail because of it.
    except Exception as error:
        log.warning("invokeai_external could not read the queue: %s", error)
        return
    if count and batch is None:
        log.info("invokeai_external: items of the queue rewritten so that Invoke can read them without it: %s.", count)


def _shown(error: ExternalError) -> str:
    """The text of an error that Invoke shows; what it has no room for is in the log."""
    text = shown_text(error)
    if text.endswith("…"):
        log.info("invokeai_external: %s", error.message)
    return text


def _our_nodes() -> Sequence[type[Any]]:
    # Their first import registers them, so it comes when everything else is there.
    from .nodes import NODES

    return NODES


def _our_outputs() -> Sequence[type[Any]]:
    from .nodes import OUTPUTS

    return OUTPUTS


def _our_node(node: Any, context: Any) -> Any | None:
    from .carried_node import our_node

    return our_node(node, context)


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="invokeai_external models", daemon=True).start()
