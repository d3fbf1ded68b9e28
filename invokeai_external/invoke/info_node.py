"""The node *External Image Info*: what an image of the gallery cost, which model made it, and its notices."""

# No postponed annotations here: Invoke reads a node's output class from the annotation of its invoke method.

from typing import Any

from invokeai.app.invocations.baseinvocation import (
    BaseInvocation,
    BaseInvocationOutput,
    invocation,
    invocation_output,
)
from invokeai.app.invocations.fields import ImageField, InputField, OutputField
from invokeai.app.services.shared.invocation_context import InvocationContext

from .core_compatibility import INFO_NODE_TYPE
from .gallery.image_facts import image_facts
from .host.gallery import metadata_of
from .node_inputs import readable

__all__ = ["ExternalImageInfoInvocation", "ExternalImageInfoOutput"]


@invocation_output("external_image_info_output")
class ExternalImageInfoOutput(BaseInvocationOutput):
    """What an image cost, which model made it, and what to know about it."""

    cost_usd: float | None = OutputField(
        default=None, title="Cost (USD)", description="What the image cost in USD; empty if it is unknown"
    )
    model: str = OutputField(
        default="", title="Model", description="The model as provider/model; empty if no external model made the image"
    )
    notices: str = OutputField(
        default="", title="Notices", description="What differs from the request, and what else to know, one per line"
    )


@invocation(
    INFO_NODE_TYPE,
    title="External Image Info",
    tags=["external", "cost", "price", "metadata"],
    category="image",
    version="1.0.0",
    use_cache=False,
)
class ExternalImageInfoInvocation(BaseInvocation):
    """Read what an image cost, which model made it, and its notices, from its metadata. Costs nothing."""

    image: ImageField = InputField(description="An image that an external model made")

    def invoke_internal(self, context: InvocationContext, services: Any) -> Any:
        """Run without Invoke's cache, whose keys are the same for all users: another user may not see the image."""
        self.use_cache = False
        return super().invoke_internal(context, services)

    def invoke(self, context: InvocationContext) -> ExternalImageInfoOutput:
        with readable(self.image, "image"):
            facts = image_facts(metadata_of(context, self.image.image_name))
        return ExternalImageInfoOutput(cost_usd=facts.cost_usd, model=facts.model, notices="\n".join(facts.notices))
