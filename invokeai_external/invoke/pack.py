"""How the pack comes and goes: what is put into Invoke when it loads, and taken out again when it is uninstalled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

from ..errors import ExternalError
from ..registry import PROVIDER_IDS, Registry
from . import host
from .picker import ModelSync, starter_model
from .routes import router_of
from .runtime import Runtime

__all__ = ["activate", "runtime"]

_NODE_TYPES = ("openai_image_generation", "gemini_image_generation")

_active: Pack | None = None


def activate(pack_name: str) -> None:
    """Put everything in; if it is in already (Invoke reloads its packs), take it out before."""
    global _active
    other = host.node_pack_of(_NODE_TYPES[0])
    if other not in (None, "invokeai", pack_name):
        host.log.error("invokeai_external is loaded already, from the pack %s; %s stays off.", other, pack_name)
        return
    if _active:
        _active.close()
    _active = Pack(pack_name)


def runtime() -> Runtime:
    """The running service; the nodes exist only while there is one."""
    assert _active is not None
    return _active.runtime


class Pack:
    """Everything that the pack puts into Invoke."""

    def __init__(self, name: str) -> None:
        core = host.registered(_NODE_TYPES)
        # The first import registers our nodes, so it must come after the look at the core's.
        from .nodes import NODES

        self.runtime = Runtime()
        self._stack = ExitStack()
        self._stack.callback(self.runtime.close)
        enter = self._stack.enter_context
        enter(host.replaced_nodes(NODES, core))
        built_in = host.starter_models(PROVIDER_IDS)
        # Until Invoke has started its list holds no model of these providers, see ``replaced_starter_models``.
        self._starters = enter(ExitStack())
        self._starters.enter_context(host.replaced_starter_models(PROVIDER_IDS, []))
        self.sync = ModelSync(self.runtime.registry, self.runtime.providers, built_in)
        enter(host.on_key_change(lambda: _in_background(self.sync.run)))
        enter(host.on_model_installed(self.sync.run))
        enter(host.on_unregister(name, self.close))
        enter(host.added_routes(router_of(self.runtime)))
        if host.services_exist():
            _in_background(self._begin)
        else:
            enter(host.started(self._begin))

    def close(self) -> None:
        """Take everything out again."""
        global _active
        self._stack.close()
        if _active is self:
            _active = None

    def _begin(self) -> None:
        """Show our models in the list of starter models, and bring the installed ones up to date."""
        self._starters.close()
        try:
            shown = [starter_model(m) for m in self.runtime.registry().models() if m.lifecycle.status != "retired"]
        except ExternalError as error:
            host.log.error("invokeai_external: %s", error)
            shown = [starter_model(m) for m in Registry().models() if m.lifecycle.status != "retired"]
        self._starters.enter_context(host.replaced_starter_models(PROVIDER_IDS, shown))
        self.sync.run()


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="invokeai_external models", daemon=True).start()
