"""Nodes: their registered classes, the cache of their outputs, and how their errors are reported."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from invokeai.app.invocations import baseinvocation
from invokeai.app.invocations.baseinvocation import BaseInvocation, BaseInvocationOutput, InvocationRegistry
from invokeai.app.services.invocation_services import InvocationServices
from invokeai.app.services.session_processor.session_processor_common import CanceledException
from invokeai.app.services.session_processor.session_processor_default import DefaultSessionRunner
from invokeai.app.services.shared.invocation_context import InvocationContext

__all__ = [
    "CanceledException",
    "NodeCache",
    "node_cache",
    "node_pack_of",
    "plain_failures",
    "register_outputs",
    "replaced_nodes",
    "substituted_node",
    "unregister_nodes",
]

_Error = TypeVar("_Error", bound=Exception)


@dataclass(frozen=True)
class NodeCache:
    """The entry of one node in Invoke's cache of node outputs.

    Attributes:
        services: Invoke's services.
        key: The key of the node.
    """

    services: InvocationServices
    key: str

    def get(self) -> object | None:
        """The cached output; None if there is no output, or the cache is disabled at the moment."""
        found: object | None = self.services.invocation_cache.get(self.key)
        return found

    def replace(self, output: Any) -> None:
        """Store an output. Invoke's own ``save`` does not replace an existing one."""
        self.services.invocation_cache.delete(self.key)
        self.services.invocation_cache.save(self.key, output)


def node_cache(context: InvocationContext, services: InvocationServices, node: BaseInvocation) -> NodeCache | None:
    """The entry of a node in the cache; None if Invoke's settings or the node disable it.

    The public node API does not give it. Invoke's own keys are the same for all users. These are not, so that nobody
    gets images that another user paid for.
    """
    if services.configuration.node_cache_size == 0 or not node.use_cache:
        return None
    key = services.invocation_cache.create_key(node)
    return NodeCache(services, f"{context._data.queue_item.user_id} {key}")


@contextmanager
def plain_failures(expected: type[_Error], shown: Callable[[_Error], str]) -> Iterator[None]:
    """Report the errors of a class by their text for users only, without a traceback, in the log, queue and events.

    Invoke reports the traceback of every error that a node raises, and a node cannot raise an error without one.

    Args:
        expected: The class.
        shown: Returns the text.
    """
    original = DefaultSessionRunner._on_node_error

    def on_node_error(runner: DefaultSessionRunner, *arguments: Any, **named: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, expected) and "error_traceback" in named:
            # A toast shows the message; the log and the page's queue tab show the traceback, so it cannot be empty.
            named["error_message"] = named["error_traceback"] = shown(error)
        original(runner, *arguments, **named)

    DefaultSessionRunner._on_node_error = on_node_error
    try:
        yield
    finally:
        DefaultSessionRunner._on_node_error = original


def node_pack_of(node_type: str) -> str | None:
    """The pack that currently provides a node type; ``invokeai`` for the core."""
    found = _registered([node_type])
    return str(found[0].UIConfig.node_pack) if found else None


@contextmanager
def replaced_nodes(node_types: Sequence[str], load: Callable[[], Sequence[type[BaseInvocation]]]) -> Iterator[None]:
    """Replace the core's classes of these node types by ours, and register the core's classes again at the end.

    To register over a core node is the supported way to replace it; after only an unregister, the type is missing.

    Args:
        node_types: The types of the nodes.
        load: Returns our classes, those of further types too. It may register them itself, as the first import of their
            module does.
    """
    core = _registered(node_types)
    try:
        with _unwarned(node_types):
            _register(load())
        yield
    finally:
        with _unwarned(node_types):
            _register(core)


@contextmanager
def substituted_node(
    node_type: str, substitute: Callable[[BaseInvocation, InvocationContext], BaseInvocation | None]
) -> Iterator[None]:
    """Run another node in the place of one of the core's, each time that there is one.

    The class stays the core's, with its fields, and so do the nodes that the queue stores.

    Args:
        node_type: The type of the core's node.
        substitute: Returns the node to run in the place of one that is about to run; None to run that one.
    """
    core = InvocationRegistry.get_invocations_map()[node_type]
    original = core.invoke_internal

    def invoke_internal(node: BaseInvocation, context: InvocationContext, services: InvocationServices) -> Any:
        other = substitute(node, context)
        return original(node, context, services) if other is None else other.invoke_internal(context, services)

    core.invoke_internal = invoke_internal
    try:
        yield
    finally:
        core.invoke_internal = original


def register_outputs(outputs: Sequence[type[BaseInvocationOutput]]) -> None:
    """Register our outputs, unless the import of their module has just done it."""
    for output in outputs:
        if output not in InvocationRegistry.get_output_classes():
            InvocationRegistry.register_output(output)


def unregister_nodes(pack_name: str) -> None:
    """Unregister all nodes and outputs of a pack."""
    InvocationRegistry.unregister_pack(pack_name)


def _registered(node_types: Sequence[str]) -> list[type[BaseInvocation]]:
    known = InvocationRegistry.get_invocations_map()
    return [known[name] for name in node_types if name in known]


@contextmanager
def _unwarned(node_types: Sequence[str]) -> Iterator[None]:
    """Keep Invoke's warnings about the replacement of these node types out of its log: it is what this is for."""

    def is_other(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not (message.startswith("Overriding ") and any(f'"{name}"' in message for name in node_types))

    logger = baseinvocation.logger
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _register(nodes: Sequence[type[BaseInvocation]]) -> None:
    current = _registered([node.get_type() for node in nodes])
    for node in nodes:
        if node not in current:
            InvocationRegistry.register_invocation(node)
