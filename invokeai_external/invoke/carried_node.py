"""Our node in the place of a node of Invoke that is not replaced, for the models that its provider carries.

Invoke's page builds its graphs with that node for the carried models that have no options in the panel. The class that
is registered for it stays the core's: Invoke's own models of that provider run as they always did, and what the queue
stores is the core's.
"""

# No postponed annotations here: Invoke reads a node's output class from the annotation of its invoke method.

from invokeai.app.invocations.baseinvocation import BaseInvocation
from invokeai.app.invocations.fields import InputField
from invokeai.app.invocations.model import ModelIdentifierField
from invokeai.app.services.shared.invocation_context import InvocationContext
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig

from ..request import OptionValue
from . import active_plugin
from .models.carriers import PLAIN, PLAIN_NODE
from .node_base import ExternalInvocation
from .nodes import ReplacingInvocation

__all__ = ["our_node"]


class CarriedImageInvocation(ReplacingInvocation):
    """A node of Invoke's with a carried model, as a node of ours. It is not registered."""

    provider = PLAIN

    # What Invoke adds to the nodes that are registered.
    type: str = PLAIN_NODE
    model: ModelIdentifierField = InputField(description="The model")

    def option_values(self) -> dict[str, OptionValue | None]:
        return {}


def our_node(node: BaseInvocation, context: InvocationContext) -> ExternalInvocation | None:
    """The node of ours that runs as a node of a graph: itself, or one in its place; None if Invoke's own runs."""
    if isinstance(node, ExternalInvocation):
        return node
    if node.get_type() != PLAIN_NODE:
        return None
    try:
        ours: CarriedImageInvocation = CarriedImageInvocation.model_validate(node.model_dump())
        record = context.models.get_config(ours.model)
    # Invoke raises various errors here, and raises them again when its node runs.
    except Exception:
        return None
    is_carried = isinstance(record, ExternalApiModelConfig) and active_plugin.runtime().is_carried(record)
    return ours if is_carried else None
