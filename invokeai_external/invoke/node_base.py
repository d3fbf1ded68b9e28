"""What the nodes have in common: their fields, and a run from the inputs to the images in the gallery."""

# No postponed annotations here: Invoke reads a node's output class from the annotation of its invoke method.

from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from invokeai.app.invocations.baseinvocation import BaseInvocation
from invokeai.app.invocations.fields import ImageField, InputField, WithBoard, WithMetadata
from invokeai.app.invocations.model import ModelIdentifierField
from invokeai.app.invocations.primitives import ImageCollectionOutput
from invokeai.app.services.shared.invocation_context import InvocationContext
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig
from PIL import Image

from ..errors import CancelledError, InvalidRequestError
from ..images.errors import ImageError
from ..images.pixels import rgb_thumbnail
from ..metadata_keys import image_notices_first, with_notice
from ..progress import Preview
from ..request import GenerationRequest, InputImage, OptionValue
from ..result import GenerationResult, Notice
from ..sizing import AspectRatio, Size
from . import active_plugin
from .gallery.fallback import FallbackFolder
from .gallery.result_cache import Destination
from .gallery.saving import GalleryImage, Saver
from .host.config import has_several_users, invoke_root
from .host.gallery import save_image
from .host.nodes import CanceledException, node_cache
from .host.queue import queued_node
from .log import naming
from .node_inputs import input_size, read_image, read_mask, recallable_reference

__all__ = ["ExternalInvocation", "Saved"]

_PREVIEW_PX = 1024
"""The longer side of a preview at most. Each preview goes to every open page, and a large one has megabytes."""

_FROM_CACHE = Notice("from_cache", "From Invoke's cache: saved again without a request.")


@dataclass(frozen=True)
class Saved:
    """A run whose images are in the gallery.

    Attributes:
        names: The names of the images.
        cost_usd: What it cost in USD; None if that is unknown.
        notices: What differs from the request, and what else to know.
    """

    names: Sequence[str]
    cost_usd: float | None
    notices: Sequence[Notice]


class ExternalInvocation(BaseInvocation, WithMetadata, WithBoard):
    """A node that generates images. Its class adds ``model``, ``invoke`` and ``output``."""

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

    def option_values(self) -> dict[str, OptionValue | None]:
        """The options of the model, under the names that the planner knows."""
        raise NotImplementedError

    def markup(self, context: InvocationContext) -> InputImage | None:
        """The drawings on the image to edit, for a provider that reads them."""
        return None

    def check_model(self, record: ExternalApiModelConfig) -> None:
        """Raise InvalidRequestError if the node is not for this model."""

    def output(self, saved: Saved) -> ImageCollectionOutput:
        """The node's output."""
        raise NotImplementedError

    @property
    def is_of_tab(self) -> bool:
        """True if a tab of Invoke made the node: it has no field for most options, and may send an outdated size."""
        return False

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
            recalled={
                **self._recalled(context, record),
                **active_plugin.runtime().recalled_options(record, request),
            },
        )
        return request, destination

    def generate(self, context: InvocationContext) -> Saved:
        """Generate the images and save them."""
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
                has_options=not self.is_of_tab,
            )
        except (CanceledException, CancelledError):
            if runtime.is_stopping:
                raise CancelledError(
                    "Invoke was stopped before the image arrived.",
                    remedy="Press Retry on this item in the queue. If the image still arrives, it is kept and not paid"
                    " for twice; if not, the provider may bill both requests.",
                ) from None
            raise
        with runtime.handing_over(run) as handover:
            images, notices = result.images, image_notices_first(result)
            if missing := _missing(result, self.num_images):
                context.logger.warning(f"{record.name}: {missing.message}")
                context.util.signal_progress(missing.message)
                images = tuple(replace(image, metadata=with_notice(image.metadata, missing)) for image in images)
            for notice in notices:
                runtime.batch_log.info(queued_node(context).item.batch, naming(record.name, notice.message))
            if missing:
                notices = [missing, *notices]
            saver = Saver(_Gallery(self, context), runtime.originals(), context.logger)
            owner = destination.user if has_several_users() else None
            names = saver.save(images, destination, FallbackFolder(invoke_root(), owner), handover)
            return Saved(names, result.cost_usd, notices)

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
            return self.output(Saved(saver.save_copies(images), 0.0, [_FROM_CACHE]))
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
        self.check_model(record)
        return record

    def _request(self, context: InvocationContext, record: ExternalApiModelConfig) -> GenerationRequest:
        init_image = read_image(context, self.init_image, "init image") if self.init_image else None
        size, ratio, image_size = self._size(init_image)
        model = active_plugin.runtime().reference_of(record)
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
            options={name: value for name, value in self.option_values().items() if value is not None},
            markup=self.markup(context),
            previews=active_plugin.runtime().previews(model) if self.previews == "setting" else int(self.previews),
        )

    def _size(self, init_image: InputImage | None) -> tuple[Size | None, AspectRatio | None, str | None]:
        """The size to request: in pixels, or as an aspect ratio and a name.

        A named size counts only in workflows, because the panel's is outdated after another model is chosen. Otherwise
        an edit has the size of its image, whatever the panel says,
        since the Canvas sends the panel's size; and without an image to edit, width and height count.
        """
        if self._has_named_size:
            return None, None if init_image else AspectRatio(self.width, self.height), self.image_size
        if init_image:
            return input_size(init_image, "init image"), None, None
        return Size(self.width, self.height), None, None

    @property
    def _has_named_size(self) -> bool:
        return bool(self.image_size) and not self.is_of_tab

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

    def __init__(self, node: ExternalInvocation, context: InvocationContext) -> None:
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
