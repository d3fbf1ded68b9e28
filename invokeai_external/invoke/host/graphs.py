"""The graph of a queue item: which of its nodes will certainly run, and with which inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from contextlib import suppress

from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.invocations.baseinvocation import BaseInvocation
from invokeai.app.services.session_queue.session_queue_common import SessionQueueItem
from invokeai.app.services.shared.graph import Graph, GraphExecutionState, NodeInputError
from invokeai.app.services.shared.invocation_context import (
    InvocationContext,
    InvocationContextData,
    build_invocation_context,
)

__all__ = ["known_nodes"]


def known_nodes(
    item: SessionQueueItem, value_nodes: Container[str]
) -> Iterator[tuple[InvocationContext, BaseInvocation]]:
    """The nodes of an item that will certainly run and whose inputs are known, with their inputs and contexts.

    Empty for an item that was started and continues later, since it is not certain which of its nodes have run.

    Invoke's own scheduler runs a copy of the graph without its executor: nodes that only carry values are executed, and
    all others never complete, so that no node after them becomes ready.

    Args:
        item: The item; it is not changed.
        value_nodes: The types of the nodes that only carry values, which are not returned themselves.
    """
    if item.session.executed:
        return
    services = ApiDependencies.invoker.services
    state: GraphExecutionState = GraphExecutionState(graph=item.session.graph)
    uncertain, unordered = _before_a_choice(state.graph), _unordered(state.graph)
    with suppress(NodeInputError):
        while node := state.next():
            source = state.prepared_source_mapping[node.id]
            if source in unordered:
                continue
            data = InvocationContextData(queue_item=item, invocation=node, source_invocation_id=source)
            context = build_invocation_context(services, data, lambda: False)
            if node.get_type() in value_nodes:
                try:
                    state.complete(node.id, node.invoke(context))
                except Exception:
                    # It fails again at its turn, and the item with it, so that later nodes never run.
                    return
            elif source not in uncertain:
                yield context, node


def _before_a_choice(graph: Graph) -> set[str]:
    """The nodes before an *if*, which Invoke may skip, since it chooses the branch late."""
    found = {name for name, node in graph.nodes.items() if node.get_type() == "if"}
    while before := {edge.source.node_id for edge in graph.edges if edge.destination.node_id in found} - found:
        found |= before
    return found


def _unordered(graph: Graph) -> set[str]:
    """The nodes that *collect* from several others, in an order that depends on random ids."""
    inputs = Counter((edge.destination.node_id, edge.destination.field) for edge in graph.edges)
    return {name for (name, _), count in inputs.items() if count > 1}
