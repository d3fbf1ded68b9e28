"""The nodes *OpenAI Image* and *Gemini Image*, with the type names and fields of the core's own nodes.

Invoke's Generate and Canvas tabs build their graphs with these type names, and workflows that were saved with the
core's nodes keep working.
"""

# The nodes' versions have the core's major number, within which the workflow editor updates saved nodes.
# No postponed annotations here: Invoke reads a node's output class from the annotation of its invoke method.

from collections.abc import Container
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Literal

from invokeai.app.invocations.baseinvocation import BaseInvocation, invocation
from invokeai.app.invocations.fields import ImageField, InputField, WithBoard, WithMetadata
from invokeai.app.invocations.model import ModelIdentifierField
from invokeai.app.invocations.primitives import ImageCollectionOutput
from invokeai.app.services.shared.invocation_context import InvocationContext
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig
from invokeai.backend.model_manager.taxonomy import BaseModelType, ModelFormat, ModelType
from PIL import Image
from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from ..errors import CancelledError, CapabilityError, InvalidRequestError
from ..images.errors import ImageError
from ..images.pixels import rgb_thumbnail
from ..metadata_keys import image_notices_first, with_notice
from ..progress import Preview
from ..request import GenerationRequest, InputImage, OptionValue
from ..result import GenerationResult, Notice
from ..sizing import AspectRatio, Size
from . import active_plugin
from .core_compatibility import as_read, as_stored
from .gallery.fallback import FallbackFolder
from .gallery.result_cache import Destination
from .gallery.saving import GalleryImage, Saver
from .host.config import invoke_root
from .host.gallery import save_image
from .host.nodes import CanceledException, node_cache
from .host.queue import queued_node
from .log import naming
from .node_inputs import input_size, read_image, read_mask, recallable_reference

__all__ = ["NODES", "ExternalImageInvocation", "GeminiImageInvocation", "OpenAIImageInvocation"]

_PREVIEW_PX = 1024
"""The longer side of a preview at most. Each preview goes to every open page, and a large one has megabytes."""


class ExternalImageInvocation(BaseInvocation, WithMetadata, WithBoard):
    """What both nodes have in common."""

    provider: ClassVar[str]

    prompt: str = InputField(default="", description="What the image should show", ui_order=1)
    reference_images: list[ImageField] = InputField(
        default=[], description="Images that the model uses as references", ui_order=2
    )
    init_image: ImageField | None = InputField(default=None, description="The image to edit", ui_order=3)
    mask_image: ImageField | None = InputField(
        default=None, description="Where to edit the image: black is changed, white is kept", ui_order=4
    )
    num_images: int = InputField(default=1, description="The number of images, 1 to 10", ui_order=5)
    width: int = InputField(default=1024, gt=0, description="The width in pixels; not used for an edit", ui_order=6)
    height: int = InputField(default=1024, gt=0, description="The height in pixels; not used for an edit", ui_order=7)
    # The workflow editor shows no input for a field without a value, so texts default to "" and choices to "auto".
    image_size: str | None = InputField(
        default="",
        description="A named size (1K, 2K, 4K) with the ratio of the image to edit, or else of width and height",
        ui_order=8,
    )
    seed: int | None = InputField(
        default=None,
        description="A seed, which may make an image repeatable; only for models that support seeds",
        ui_order=9,
    )
    previews: Literal["setting", "0", "1", "2", "3"] = InputField(
        default="setting",
        description="How many previews to show of each image; OpenAI bills a little for each",
        ui_order=20,
    )
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

    def options(self) -> dict[str, OptionValue | None]:
        """The provider's own options, under the names that the planner knows."""
        raise NotImplementedError

    def markup(self, context: InvocationContext) -> InputImage | None:
        """The drawings on the image to edit, for a provider that reads them."""
        return None

    def prepare(self, context: InvocationContext) -> tuple[GenerationRequest, Destination]:
        """The request and where its images belong, once the inputs are known. Equal before the node's turn and at it.

        Raises:
            RequestError: The node, its model or its images cannot be used.
        """
        record = self._record(context)
        request = self._request(context, record)
        node = queued_node(context)
        destination = Destination(
            user=node.user,
            board=self.board.board_id if self.board else None,  # type: ignore[redundant-expr]
            item=node.item,
            # Now and not later, because the input images may be deleted by then.
            size=request.size if self.init_image else None,
            panel=self.metadata.root if self.metadata else {},
            recalled=self._recalled(context, record),
        )
        return request, destination

    def invoke(self, context: InvocationContext) -> ImageCollectionOutput:
        record = self._record(context)
        request, destination = self.prepare(context)
        # Held, because the plugin may be removed in the meantime.
        runtime = active_plugin.runtime()

        def check() -> None:
            if context.util.is_canceled():
                raise CanceledException

        try:
            # A run that was cancelled while its images were read is not sent. In 6.13.0, an item that was just taken
            # from the queue is not notified when Invoke stops.
            check()
            if runtime.is_stopping:
                raise CanceledException
            run = runtime.run(request, queued_node(context), destination)
            result = runtime.follow(
                run,
                check=check,
                report=lambda text, preview: _show_progress(context, text, preview, destination.size),
                # The tabs have no field for most options.
                has_options=self.metadata is None,
            )
        except (CanceledException, CancelledError):
            if runtime.is_stopping:
                raise CancelledError(
                    "Invoke was stopped before the image arrived.",
                    remedy="Run it again. If the image still arrives, it is kept and not paid for twice; if not, the"
                    " provider may bill both requests.",
                ) from None
            raise
        with runtime.handing_over(run):
            images = result.images
            if missing := _missing(result, self.num_images):
                context.logger.warning(f"{record.name}: {missing.message}")
                context.util.signal_progress(missing.message)
                images = tuple(replace(image, metadata=with_notice(image.metadata, missing)) for image in images)
            for notice in image_notices_first(result):
                context.logger.info(naming(record.name, notice.message))
            saver = Saver(_Gallery(self, context), runtime.originals(), context.logger)
            return _output(saver.save(images, destination, FallbackFolder(invoke_root())))

    def invoke_internal(self, context: InvocationContext, services: Any) -> Any:
        """Save the images of a cached run again, as new gallery entries, instead of returning the old ones.

        The core's own method also rejects a node without a required input. Here only the model is required, see
        ``_record``.
        """
        cache = node_cache(context, services, self)
        if cache is None:
            return self.invoke(context)
        cached = cache.get()
        if isinstance(cached, ImageCollectionOutput) and (images := _gallery_images(context, cached)) is not None:
            saver = Saver(_Gallery(self, context), active_plugin.runtime().originals(), context.logger)
            return _output(saver.save_copies(images))
        output = self.invoke(context)
        # The next run should request the missing images.
        if len(output.collection) == self.num_images:
            cache.replace(output)
        return output

    def _record(self, context: InvocationContext) -> ExternalApiModelConfig:
        model: ModelIdentifierField | None = self.model  # type: ignore[attr-defined]
        if model is None:
            raise InvalidRequestError("The node has no model.", remedy="Choose a model.")
        try:
            record = context.models.get_config(model)
        except Exception:
            # Invoke raises various errors here; all mean that the model is not installed.
            raise InvalidRequestError(
                f"The model {model.name!r} is not installed.",
                remedy="Choose another model, or install it in the model manager.",
            ) from None
        if not isinstance(record, ExternalApiModelConfig):
            raise InvalidRequestError(
                f"{record.name} is not an external model.", remedy="Choose a model from the node's list."
            )
        if record.provider_id != self.provider:
            raise InvalidRequestError(
                f"{record.name} is a model of {record.provider_id}, but this is the node for {self.provider}.",
                remedy="Choose another model, or use the other node.",
            )
        return record

    def _request(self, context: InvocationContext, record: ExternalApiModelConfig) -> GenerationRequest:
        if self.mode == "outpaint":
            raise CapabilityError(
                "External models do not support outpainting.",
                remedy="Make the bounding box no larger than the image, or draw a mask inside the image.",
            )
        init_image = read_image(context, self.init_image, "init image") if self.init_image else None
        size, ratio, image_size = self._size(init_image)
        model = f"{record.provider_id}/{record.provider_model_id}"
        return GenerationRequest(
            model=model,
            prompt=self.prompt or "",
            n=self.num_images,
            size=size,
            aspect_ratio=ratio,
            image_size=image_size,
            seed=self.seed,
            init_image=init_image,
            mask=read_mask(context, self.mask_image) if self.mask_image else None,
            references=tuple(read_image(context, field, "reference image") for field in self.reference_images),
            options={name: value for name, value in self.options().items() if value is not None},
            markup=self.markup(context),
            previews=active_plugin.runtime().previews(model) if self.previews == "setting" else int(self.previews),
        )

    def _size(self, init_image: InputImage | None) -> tuple[Size | None, AspectRatio | None, str | None]:
        """The size to request: in pixels, or as an aspect ratio and a name.

        A named size counts only in workflows, because the panel's is outdated after another model is chosen. A graph of
        the panel is recognized by its metadata. Otherwise an edit has the size of its image, whatever the panel says,
        since the Canvas sends the panel's size; and without an image to edit, width and height count.
        """
        if self._has_named_size:
            return None, None if init_image else AspectRatio(self.width, self.height), self.image_size
        if init_image:
            return input_size(init_image, "init image"), None, None
        return Size(self.width, self.height), None, None

    @property
    def _has_named_size(self) -> bool:
        return bool(self.image_size) and self.metadata is None

    def _recalled(self, context: InvocationContext, record: ExternalApiModelConfig) -> dict[str, Any]:
        """The fields that Invoke's page recalls an image by, except those that the core writes."""
        metadata: dict[str, Any] = {
            "model": {
                "key": record.key,
                "hash": record.hash,
                "name": record.name,
                "base": record.base.value,
                "type": record.type.value,
            }
        }
        # The size of the panel, which the panel returns to on recall; the received size is under "external". With a
        # named size, the panel needs the pixels that it stands for.
        if not self._has_named_size:
            metadata["width"], metadata["height"] = self.width, self.height
        if self.reference_images:
            metadata["ref_images"] = [recallable_reference(context, field) for field in self.reference_images]
        return metadata


class _Gallery:
    """The gallery, as a running node sees it."""

    def __init__(self, node: ExternalImageInvocation, context: InvocationContext) -> None:
        self._node = node
        self._context = context

    def save(self, image: Image.Image, metadata: dict[str, Any], *, before: Container[str]) -> str:
        return save_image(self._context, image, metadata, before=before)

    def leave_board(self) -> bool:
        has_board, self._node.board = self._node.board is not None, None
        return has_board


def _gallery_images(context: InvocationContext, output: ImageCollectionOutput) -> list[GalleryImage] | None:
    """The images of an earlier output; None if one of them was deleted."""
    names = [field.image_name for field in output.collection]
    try:
        found = [
            (name, context.images.get_path(name).read_bytes(), context.images.get_metadata(name)) for name in names
        ]
    # Invoke raises various errors for a deleted image.
    except Exception:
        return None
    return [GalleryImage(name, file, dict(metadata.root) if metadata else {}) for name, file, metadata in found]


def _show_progress(context: InvocationContext, line: str, preview: Preview | None, size: Size | None) -> None:
    """Show the progress line, and a preview at the size of the finished image, which for an edit is ``size``.

    Invoke sends the preview as a JPEG at its own size, and fails the node if it has alpha.
    """
    if preview is not None:
        # A damaged preview is not shown.
        with suppress(ImageError):
            preview_image = rgb_thumbnail(preview.data, longest_px=_PREVIEW_PX)
            size = size or preview.size or Size(*preview_image.size)
            context.util.signal_progress(line, image=preview_image, image_size=(size.width, size.height))
            return
    context.util.signal_progress(line)


def _missing(result: GenerationResult, requested: int) -> Notice | None:
    """A notice about missing images; None if all are there."""
    count = requested - len(result.images)
    if count <= 0:
        return None
    reasons = " ".join(dict.fromkeys(str(error) for error in result.errors))
    return Notice("incomplete", f"{count} of {requested} images failed: {reasons}")


def _output(names: list[str]) -> ImageCollectionOutput:
    return ImageCollectionOutput(collection=[ImageField(image_name=name) for name in names])


def _model_field(provider: str) -> Any:
    return InputField(
        description="The model",
        ui_model_base=[BaseModelType.External],
        ui_model_type=[ModelType.ExternalImageGenerator],
        ui_model_format=[ModelFormat.ExternalApi],
        ui_model_provider_id=[provider],
        ui_order=0,
    )


@invocation(
    "openai_image_generation",
    title="OpenAI Image",
    tags=["external", "openai", "generation", "gpt"],
    category="image",
    version="1.2.0",
    use_cache=False,
)
class OpenAIImageInvocation(ExternalImageInvocation):
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

    def options(self) -> dict[str, OptionValue | None]:
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
class GeminiImageInvocation(ExternalImageInvocation):
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

    def options(self) -> dict[str, OptionValue | None]:
        return {
            "temperature": self.temperature,
            "thinking_level": self.thinking_level,
            "safety": self.safety,
            "web_search": self.web_search,
        }


NODES: tuple[type[BaseInvocation], ...] = (OpenAIImageInvocation, GeminiImageInvocation)
