"""The nodes *OpenAI Image*, *Gemini Image* and *External Image*.

The first two have the type names and fields of the core's own nodes: Invoke's Generate and Canvas tabs build their
graphs with these type names, and workflows that were saved with the core's nodes keep working. The third is our own,
and is for the models of all providers.
"""

# The first two have versions with the core's major number, within which the workflow editor updates saved nodes.
# No postponed annotations here: Invoke reads a node's output class from the annotation of its invoke method.

from typing import Any, ClassVar, Literal

from invokeai.app.invocations.baseinvocation import (
    BaseInvocation,
    BaseInvocationOutput,
    invocation,
    invocation_output,
)
from invokeai.app.invocations.fields import ImageField, InputField, OutputField, UIComponent
from invokeai.app.invocations.model import ModelIdentifierField
from invokeai.app.invocations.primitives import ImageCollectionOutput
from invokeai.app.services.shared.invocation_context import InvocationContext
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig
from invokeai.backend.model_manager.taxonomy import BaseModelType, ModelFormat, ModelType
from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from ..errors import CapabilityError, InvalidRequestError
from ..planning.option_texts import options_of_lines
from ..request import GenerationRequest, InputImage, OptionValue
from . import active_plugin
from .core_compatibility import OWN_NODE_TYPE, as_read, as_stored
from .gallery.result_cache import Destination
from .info_node import ExternalImageInfoInvocation, ExternalImageInfoOutput
from .node_base import ExternalInvocation, Saved
from .node_inputs import read_image

__all__ = [
    "NODES",
    "OUTPUTS",
    "ExternalImageInvocation",
    "GeminiImageInvocation",
    "OpenAIImageInvocation",
    "ReplacingInvocation",
]


def _model_field(provider: str | None) -> Any:
    return InputField(
        description="The model",
        ui_model_base=[BaseModelType.External],
        ui_model_type=[ModelType.ExternalImageGenerator],
        ui_model_format=[ModelFormat.ExternalApi] if provider else None,
        ui_model_provider_id=[provider] if provider else None,
        ui_order=0,
    )


class ReplacingInvocation(ExternalInvocation):
    """A node in place of one of the core's nodes."""

    provider: ClassVar[str]

    # The connected inputs decide. The field is there for graphs of the core's nodes and tabs. It accepts any text, so
    # that a value of a newer page does not break a run, and outpainting fails with a clear message.
    mode: str = InputField(default="txt2img", description="Not used: the connected inputs decide", ui_hidden=True)

    # A return type would replace the node's fields in Invoke's OpenAPI schema, from which its editor is made.
    @model_serializer(mode="wrap")
    def _stored(self, handler: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        return as_stored(handler(self))

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return as_read(value) if isinstance(value, dict) else value

    def invoke(self, context: InvocationContext) -> ImageCollectionOutput:
        return self.output(self.generate(context))

    def output(self, saved: Saved) -> ImageCollectionOutput:
        return ImageCollectionOutput(collection=_fields_of(saved))

    def check_model(self, record: ExternalApiModelConfig) -> None:
        if record.provider_id != self.provider:
            raise InvalidRequestError(
                f"{record.name} is a model of {record.provider_id}, but this is the node for {self.provider}.",
                remedy="Choose another model, or use the other node.",
            )

    def prepare(self, context: InvocationContext) -> tuple[GenerationRequest, Destination]:
        if self.mode == "outpaint":
            raise CapabilityError(
                "External models do not support outpainting.",
                remedy="Make the bounding box no larger than the image, or draw a mask inside the image.",
            )
        return super().prepare(context)

    @property
    def is_of_tab(self) -> bool:
        # A graph of a tab is recognized by its metadata.
        return self.metadata is not None


@invocation(
    "openai_image_generation",
    title="OpenAI Image",
    tags=["external", "openai", "generation", "gpt"],
    category="image",
    version="1.2.0",
    use_cache=False,
)
class OpenAIImageInvocation(ReplacingInvocation):
    """Generate and edit images with OpenAI's GPT Image. Needs an API key; every image costs money."""

    provider = "openai"

    model: ModelIdentifierField = _model_field("openai")
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] = InputField(
        default="auto", description="The quality; xhigh and max need GPT Image 2.5 or newer", ui_order=10
    )
    background: Literal["auto", "transparent", "opaque"] = InputField(
        default="auto", description="Transparent makes an image with alpha", ui_order=11
    )
    input_fidelity: Literal["auto", "low", "high"] | None = InputField(
        default="auto", description="How closely input images are preserved; GPT Image 1.5 and older", ui_order=12
    )
    moderation: Literal["auto", "low"] = InputField(default="auto", description="Low is less strict", ui_order=13)
    complexity: Literal["auto", "low", "medium", "high"] = InputField(
        default="auto", description="How much the model plans first; GPT Image 2.6", ui_order=14
    )
    # Not gif and svg: the gallery cannot hold them.
    output_format: Literal["auto", "png", "jpeg", "webp"] = InputField(
        default="auto", description="In what format OpenAI sends the image; the gallery stores a PNG", ui_order=15
    )
    output_compression: int = InputField(
        default=100, ge=0, le=100, description="The quality of jpeg and webp; 100 is the best", ui_order=16
    )
    markup_image: ImageField | None = InputField(
        default=None,
        description="Drawings on a transparent image as large as the image to edit, which say what to do; not together "
        "with a mask; GPT Image 2.5 or newer",
        ui_order=17,
    )

    def option_values(self) -> dict[str, OptionValue | None]:
        return {
            "quality": self.quality,
            "background": self.background,
            "input_fidelity": self.input_fidelity,
            "moderation": self.moderation,
            "complexity": self.complexity,
            "output_format": self.output_format,
            "output_compression": None if self.output_compression == 100 else self.output_compression,
        }

    def markup(self, context: InvocationContext) -> InputImage | None:
        return read_image(context, self.markup_image, "markup") if self.markup_image else None


@invocation(
    "gemini_image_generation",
    title="Gemini Image",
    tags=["external", "gemini", "generation", "nano banana"],
    category="image",
    version="1.2.0",
    use_cache=False,
)
class GeminiImageInvocation(ReplacingInvocation):
    """Generate and edit images with Google's Gemini image models. Needs an API key; every image costs money."""

    provider = "gemini"

    model: ModelIdentifierField = _model_field("gemini")
    # The models support 0 to 1. A saved workflow may contain more, and gets an error that says so.
    temperature: float | None = InputField(
        default=None, ge=0, le=2, description="How varied the images are, 0 to 1", ui_order=10
    )
    thinking_level: Literal["auto", "minimal", "medium", "high"] | None = InputField(
        default="auto", description="How long the model thinks first, if it supports that", ui_order=11
    )

    safety: Literal["auto", "block_low_and_above", "block_medium_and_above", "block_only_high", "block_none", "off"] = (
        InputField(default="auto", description="From when on harmful content is blocked", ui_order=12)
    )
    web_search: Literal["off", "web", "image"] = InputField(
        default="off",
        description="Lets the model search the web, or the web and its images, first; Google bills each search query",
        ui_order=13,
    )

    def option_values(self) -> dict[str, OptionValue | None]:
        return {
            "temperature": self.temperature,
            "thinking_level": self.thinking_level,
            "safety": self.safety,
            # A tab has no field for it, so its models' defaults count.
            "web_search": None if self.is_of_tab and self.web_search == "off" else self.web_search,
        }


@invocation_output("external_image_output")
class ExternalImageOutput(ImageCollectionOutput):
    """Generated images, what they cost, and what to know about them."""

    cost_usd: float | None = OutputField(
        default=None, title="Cost (USD)", description="What the images cost in USD; empty if it is unknown"
    )
    notices: str = OutputField(
        default="", title="Notices", description="What differs from the request, and what else to know, one per line"
    )


@invocation(
    OWN_NODE_TYPE,
    title="External Image",
    tags=["external", "generation", "api", "provider"],
    category="image",
    version="1.0.0",
    use_cache=False,
)
class ExternalImageInvocation(ExternalInvocation):
    """Generate and edit images with a model of any provider. Needs that provider's key; every image costs money."""

    model: ModelIdentifierField = _model_field(None)
    options: str = InputField(
        default="",
        description="Options of the model, one per line as NAME=VALUE, such as quality=high",
        ui_component=UIComponent.Textarea,
        ui_order=10,
    )

    def check_model(self, record: ExternalApiModelConfig) -> None:
        runtime = active_plugin.runtime()
        provider = runtime.reference_of(record).partition("/")[0]
        if provider not in runtime.settings().providers:
            raise InvalidRequestError(
                f"{record.name} is a model of {provider}, which invokeai_external does not know.",
                remedy="Choose another model, or use Invoke's own node for it.",
            )

    def option_values(self) -> dict[str, OptionValue | None]:
        return {**options_of_lines(self.options)}

    def invoke(self, context: InvocationContext) -> ExternalImageOutput:
        return self.output(self.generate(context))

    def output(self, saved: Saved) -> ExternalImageOutput:
        notices = "\n".join(notice.message for notice in saved.notices)
        return ExternalImageOutput(collection=_fields_of(saved), cost_usd=saved.cost_usd, notices=notices)


def _fields_of(saved: Saved) -> list[ImageField]:
    return [ImageField(image_name=name) for name in saved.names]


NODES: tuple[type[BaseInvocation], ...] = (
    OpenAIImageInvocation,
    GeminiImageInvocation,
    ExternalImageInvocation,
    ExternalImageInfoInvocation,
)
"""All our nodes, those of other modules too."""

OUTPUTS: tuple[type[BaseInvocationOutput], ...] = (ExternalImageOutput, ExternalImageInfoOutput)
"""The outputs that Invoke does not have."""
