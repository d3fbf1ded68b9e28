"""Nodes: which classes are registered, the cache of what they put out, and how their errors are reported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from invokeai.app.invocations.baseinvocation import BaseInvocation, InvocationRegistry
from invokeai.app.services.invocation_services import InvocationServices
from invokeai.app.services.session_processor.session_processor_common import CanceledException
from invokeai.app.services.session_processor.session_processor_default import DefaultSessionRunner
from invokeai.app.services.shared.invocation_context import InvocationContext

__all__ = ["CanceledException", "NodeCache", "node_cache", "node_pack_of", "plain_failures", "replaced_nodes"]


class NodeCache(NamedTuple):
    """Invoke's cache of what nodes put out, and the key of one node in it."""

    services: InvocationServices
    key: str

    def get(self) -> object | None:
        """What the node put out before; None if it is not known, or the cache is switched off for now."""
        found: object | None = self.services.invocation_cache.get(self.key)
        return found

    def replace(self, output: Any) -> None:
        """Keep what the node put out; Invoke's own ``save`` keeps what is there already."""
        self.services.invocation_cache.delete(self.key)
        self.services.invocation_cache.save(self.key, output)


def node_cache(context: InvocationContext, services: InvocationServices, node: BaseInvocation) -> NodeCache | None:
    """The place of a node in the cache; None where Invoke's settings or the node switch it off.

    No node context gives it. Invoke's own keys are the same for all users; these are not, so that nobody gets what
    another user has paid for.
    """
    if services.configuration.node_cache_size == 0 or not node.use_cache:
        return None
    key = services.invocation_cache.create_key(node)
    return NodeCache(services, f"{context._data.queue_item.user_id} {key}")


@contextmanager
def plain_failures(expected: type[Exception]) -> Iterator[None]:
    """Keep the tracebacks of errors that are made for people out of the log, the queue item and the events.

    Invoke takes the traceback of whatever a node raises, and a node cannot raise without one.
    """
    original = DefaultSessionRunner._on_node_error

    def on_node_error(runner: DefaultSessionRunner, *arguments: Any, **named: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, expected) and "error_traceback" in named:
            # The log and the page's queue tab show this in place of the message, so it cannot be empty.
            named["error_traceback"] = str(error)
        original(runner, *arguments, **named)

    DefaultSessionRunner._on_node_error = on_node_error
    try:
        yield
    finally:
        DefaultSessionRunner._on_node_error = original


def node_pack_of(node_type: str) -> str | None:
    """The pack that a node type comes from now: ``invokeai`` for the core."""
    found = _registered([node_type])
    return str(found[0].UIConfig.node_pack) if found else None


@contextmanager
def replaced_nodes(node_types: Sequence[str], load: Callable[[], Sequence[type[BaseInvocation]]]) -> Iterator[None]:
    """Register our classes in place of the core's of these types, and the core's again at the end.

    Registering over a core node is the supported way to replace it; unregistering alone leaves a hole.

    Args:
        node_types: The types of the nodes.
        load: Gives our classes; may register them itself, as the first import of their module does.
    """
    core = _registered(node_types)
    try:
        _register(load())
        yield
    finally:
        _register(core)


def _registered(node_types: Sequence[str]) -> list[type[BaseInvocation]]:
    known = InvocationRegistry.get_invocations_map()
    return [known[name] for name in node_types if name in known]


def _register(nodes: Sequence[type[BaseInvocation]]) -> None:
    current = _registered([node.get_type() for node in nodes])
    for node in nodes:
        if node not in current:
            InvocationRegistry.register_invocation(node)
