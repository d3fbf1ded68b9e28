"""The nodes *OpenAI Image* and *Gemini Image*, under the core's type names and with its fields.

Invoke's Generate and Canvas tabs build their graphs with these names, and workflows saved with the core's nodes run on.
"""

# The nodes' versions have the core's major number: within it the workflow editor updates the nodes of saved workflows.
# No postponed annotations here: Invoke reads a node's output class from the annotation of its invoke method.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, ClassVar, Literal

from invokeai.app.invocations.baseinvocation import BaseInvocation, invocation
from invokeai.app.invocations.fields import ImageField, InputField, WithBoard, WithMetadata
from invokeai.app.invocations.model import ModelIdentifierField
from invokeai.app.invocations.primitives import ImageCollectionOutput
from invokeai.app.services.shared.invocation_context import InvocationContext
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig
from invokeai.backend.model_manager.taxonomy import BaseModelType, ModelFormat, ModelType
from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from ..errors import CancelledError, CapabilityError, InvalidRequestError
from ..images.errors import ImageError
from ..images.inputs import size_of
from ..images.masks import mask_from_black
from ..images.pixels import glance
from ..metadata import with_notice
from ..request import GenerationRequest, InputImage, OptionValue
from ..result import GeneratedImage, GenerationResult, Notice, Preview
from ..sizing import AspectRatio, Size
from . import plugin
from .core_compatibility import as_read, as_stored
from .gallery import fallback
from .gallery.originals import Originals
from .gallery.passthrough import INVOKE_KEYWORDS, PassthroughImage
from .gallery.result_cache import Destination
from .host.config import invoke_root
from .host.gallery import save_image
from .host.nodes import CanceledException, node_cache
from .host.queue import place_of

__all__ = ["NODES", "ExternalImageInvocation", "GeminiImageInvocation", "OpenAIImageInvocation"]

_PREVIEW_PX = 1024
"""The longer side of a preview at most: each goes to every open page, a large one with megabytes."""


class ExternalImageInvocation(BaseInvocation, WithMetadata, WithBoard):
    """What both nodes have in common."""

    provider: ClassVar[str]

    prompt: str = InputField(default="", description="What the picture should show", ui_order=1)
    reference_images: list[ImageField] = InputField(default=[], description="Pictures to look at", ui_order=2)
    init_image: ImageField | None = InputField(default=None, description="The picture to edit", ui_order=3)
    mask_image: ImageField | None = InputField(
        default=None, description="Where to edit it: black is changed, white is kept", ui_order=4
    )
    num_images: int = InputField(default=1, description="How many pictures, 1 to 10", ui_order=5)
    width: int = InputField(default=1024, gt=0, description="Width in pixels, where nothing is edited", ui_order=6)
    height: int = InputField(default=1024, gt=0, description="Height in pixels, where nothing is edited", ui_order=7)
    # The workflow editor shows no box for a field without a value: so the text is empty and the choices are "auto".
    image_size: str | None = InputField(
        default="", description="A named size (1K, 2K, 4K); width and height then give the ratio", ui_order=8
    )
    seed: int | None = InputField(
        default=None, description="Makes a picture repeatable, where the model knows seeds", ui_order=9
    )
    previews: Literal["setting", "0", "1", "2", "3"] = InputField(
        default="setting",
        description="How often to show each picture while it is made; costs a little with OpenAI",
        ui_order=20,
    )
    # What is wired decides; the field is there for graphs that the core's nodes and tabs made. Any word is taken, so
    # that one of a newer page does not break a run, and so that outpainting ends in a sentence.
    mode: str = InputField(default="txt2img", description="Not used: what is wired decides", ui_hidden=True)

    # A return type would take the place of the node's fields on Invoke's API page, from which its editor is made.
    @model_serializer(mode="wrap")
    def _stored(self, handler: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        return as_stored(handler(self))

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return as_read(value) if isinstance(value, dict) else value

    def options(self) -> dict[str, OptionValue | None]:
        """The provider's own options, by the names that the planner knows."""
        raise NotImplementedError

    def asked(self, context: InvocationContext) -> tuple[GenerationRequest, Destination]:
        """What the node asks for and whose it is, its inputs being known; the same before its turn and when it runs.

        Raises:
            RequestError: The node, its model or its pictures cannot be used.
        """
        record = self._record(context)
        request = self._request(context, record)
        place = place_of(context)
        destination = Destination(
            user=place.user,
            board=self.board.board_id if self.board else None,  # type: ignore[redundant-expr]
            item=place.queue_item,
            # Asked before and not after: the pictures that go in may be gone by then.
            size=request.size if self.init_image else None,
            panel=self.metadata.root if self.metadata else {},
            recalled=self._recalled(context, record),
        )
        return request, destination

    def invoke(self, context: InvocationContext) -> ImageCollectionOutput:
        record = self._record(context)
        request, destination = self.asked(context)
        size = destination.size
        # Held, since the pack may be taken out meanwhile.
        runtime = plugin.runtime()
        try:
            # What was cancelled while its images were read is not sent any more. In 6.13.0 an item that was just taken
            # from the queue does not hear of a stop.
            if context.util.is_canceled() or runtime.is_stopping:
                raise CanceledException
            run = runtime.run(request, place_of(context), destination)
            result = runtime.follow(
                run,
                is_canceled=context.util.is_canceled,
                tell=lambda text, preview: _tell(context, text, preview, size),
            )
        except (CanceledException, CancelledError):
            if runtime.is_stopping:
                raise CancelledError(
                    "Invoke was stopped before the image was there.",
                    remedy="Run it again: an image that still arrived is kept and not paid for twice; otherwise the"
                    " provider may bill the first time as well.",
                ) from None
            raise
        with runtime.handing_over(run):
            for notice in result.notices:
                context.logger.info(f"{record.name}: {notice.message}")
            pictures = result.images
            if missing := _missing(result, self.num_images):
                context.logger.warning(f"{record.name}: {missing.message}")
                context.util.signal_progress(missing.message)
                pictures = tuple(replace(image, metadata=with_notice(image.metadata, missing)) for image in pictures)
            return _output(self._saved(context, pictures, destination, runtime.originals()))

    def invoke_internal(self, context: InvocationContext, services: Any) -> Any:
        """Save the pictures of a cached run again, as new entries of the gallery, in place of giving the old ones.

        The core's own also refuses a node without a required input; here only the model is, see ``_record``.
        """
        cache = node_cache(context, services, self)
        if cache is None:
            return self.invoke(context)
        cached = cache.get()
        if isinstance(cached, ImageCollectionOutput) and (again := self._saved_again(context, cached)):
            return again
        output = self.invoke(context)
        # What is missing is to be made by the next run.
        if len(output.collection) == self.num_images:
            cache.replace(output)
        return output

    def _record(self, context: InvocationContext) -> ExternalApiModelConfig:
        model: ModelIdentifierField | None = self.model  # type: ignore[attr-defined]
        if model is None:
            raise InvalidRequestError("The node has no model.", remedy="Choose one.")
        try:
            record = context.models.get_config(model)
        except Exception:
            # Invoke raises one of several errors here; all mean that the workflow names a model that is not installed.
            raise InvalidRequestError(
                f"The model {model.name!r} is not installed.",
                remedy="Choose another, or install it in the model manager.",
            ) from None
        if not isinstance(record, ExternalApiModelConfig):
            raise InvalidRequestError(f"{record.name} is not an external model.", remedy="Choose one of this node's.")
        if record.provider_id != self.provider:
            raise InvalidRequestError(
                f"{record.name} is a model of {record.provider_id}, not of {self.provider}.",
                remedy="Choose another model, or use the other node.",
            )
        return record

    def _request(self, context: InvocationContext, record: ExternalApiModelConfig) -> GenerationRequest:
        if self.mode == "outpaint":
            raise CapabilityError(
                "External models cannot outpaint.",
                remedy="Make the box no larger than the picture, or paint a mask inside the picture.",
            )
        init_image = _picture(context, self.init_image, "picture to edit") if self.init_image else None
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
            mask=_mask(context, self.mask_image) if self.mask_image else None,
            references=tuple(_picture(context, field, "reference picture") for field in self.reference_images),
            options={name: value for name, value in self.options().items() if value is not None},
            previews=plugin.runtime().previews(model) if self.previews == "setting" else int(self.previews),
        )

    def _size(self, init_image: InputImage | None) -> tuple[Size | None, AspectRatio | None, str | None]:
        """The size to ask for.

        An edit has the size of its picture, whatever the panel says: the Canvas sends the panel's. Otherwise width and
        height count. A named size counts in workflows alone, since the panel's goes stale when the model is changed;
        a graph of the panel is known by its metadata.
        """
        if init_image:
            with _blaming(init_image, "picture to edit"):
                return size_of(init_image.data), None, None
        if self._size_is_named:
            return None, AspectRatio(self.width, self.height), self.image_size
        return Size(self.width, self.height), None, None

    @property
    def _size_is_named(self) -> bool:
        return bool(self.image_size) and self.metadata is None

    def _saved(
        self,
        context: InvocationContext,
        pictures: Sequence[GeneratedImage],
        destination: Destination,
        originals: Originals,
    ) -> list[str]:
        """The names of the pictures in the gallery.

        What cannot be saved there is kept elsewhere; that is an error only if it befell all of them.
        """
        saved: list[str] = []
        unsaved: list[GeneratedImage] = []
        for image in pictures:
            stored = originals.store(image)
            metadata = destination.metadata(stored.metadata)
            try:
                saved.append(self._saved_one(context, image.data, destination.size, metadata, saved))
            except fallback.NotSavedError as error:
                unsaved.append(image)
                message = error.message
            else:
                originals.link(saved[-1], stored)
        if unsaved:
            failure = fallback.NotSavedError(
                message, remedy=fallback.FallbackFolder(invoke_root()).save(unsaved).message
            )
            if not saved:
                raise failure
            context.logger.error(str(failure))
        return saved

    def _recalled(self, context: InvocationContext, record: ExternalApiModelConfig) -> dict[str, Any]:
        """What Invoke's page recalls a picture by, beside what the core writes."""
        metadata: dict[str, Any] = {
            "model": {
                "key": record.key,
                "hash": record.hash,
                "name": record.name,
                "base": record.base.value,
                "type": record.type.value,
            }
        }
        # The panel's size, to which the panel goes back on recall; what came stands under "external". Where a named
        # size counted, the panel needs the pixels that it stood for.
        if not self._size_is_named or self.init_image:
            metadata["width"], metadata["height"] = self.width, self.height
        if self.reference_images:
            metadata["ref_images"] = [_recallable(context, field) for field in self.reference_images]
        return metadata

    def _saved_again(self, context: InvocationContext, cached: ImageCollectionOutput) -> ImageCollectionOutput | None:
        """New entries for the pictures of a cached run; None if one of them is gone, so that it must be run again."""
        names = [field.image_name for field in cached.collection]
        try:
            found = [(context.images.get_path(name).read_bytes(), context.images.get_metadata(name)) for name in names]
        except Exception:
            # Invoke raises one of several errors for a picture that was deleted.
            return None
        saved: list[str] = []
        originals = plugin.runtime().originals()
        for name, (file, metadata) in zip(names, found, strict=True):
            root = dict(metadata.root) if metadata else {}
            root["external"] = {**root.get("external", {}), "from_cache": True, "cost_usd": 0}
            saved.append(self._saved_one(context, file, None, root, saved))
            originals.link_copy(name, saved[-1])
        return _output(saved)

    def _saved_one(
        self, context: InvocationContext, file: bytes, size: Size | None, metadata: dict[str, Any], before: list[str]
    ) -> str:
        """Put one picture into the gallery; gives its name there, or raises NotSavedError."""
        try:
            # Whatever texts of Invoke's it came with, they tell of another run.
            picture = PassthroughImage.from_file(file, dropped=INVOKE_KEYWORDS)
            return save_image(context, picture.resized_to(size), metadata, before=before)
        except Exception as failure:
            cause = fallback.root_cause(failure)
        reason = fallback.reason_of(cause)
        # An error of the system has a number, and nothing to do with the board.
        if self.board and getattr(cause, "errno", None) is None:  # type: ignore[has-type]
            # With several users, Invoke refuses a board that is gone or somebody else's only now.
            context.logger.warning(f"A picture goes to no board, since the one chosen did not take it: {reason}.")
            self.board = None
            return self._saved_one(context, file, size, metadata, before)
        raise fallback.NotSavedError(f"An image cannot be saved in the gallery: {reason}.", remedy="Fix that first.")


def _tell(context: InvocationContext, line: str, preview: Preview | None, size: Size | None) -> None:
    """Show the progress line, and a preview at the size that the picture will have: that of an edit, if it is one.

    Invoke sends it as JPEG at its own pixels, and fails the node over one with alpha.
    """
    if preview is not None:
        # One that is broken is no loss.
        with suppress(ImageError):
            picture = glance(preview.data, longest_px=_PREVIEW_PX)
            size = size or preview.size or Size(*picture.size)
            context.util.signal_progress(line, image=picture, image_size=(size.width, size.height))
            return
    context.util.signal_progress(line)


def _missing(result: GenerationResult, wanted: int) -> Notice | None:
    """What became of the pictures that did not come; None if all did."""
    count = wanted - len(result.images)
    if count <= 0:
        return None
    reasons = " ".join(dict.fromkeys(str(error) for error in result.errors))
    return Notice("incomplete", f"{count} of {wanted} pictures did not come: {reasons}")


def _output(names: list[str]) -> ImageCollectionOutput:
    return ImageCollectionOutput(collection=[ImageField(image_name=name) for name in names])


def _recallable(context: InvocationContext, field: ImageField) -> dict[str, Any]:
    """A reference picture in the form that Invoke's page reads back (6.14.2); this type needs no model beside it."""
    size = context.images.get_dto(field.image_name)
    image = {"image_name": field.image_name, "width": size.width, "height": size.height}
    config = {"type": "flux2_reference_image", "image": {"original": {"image": image}}}
    return {"id": f"reference_image:{field.image_name}", "isEnabled": True, "config": config}


def _picture(context: InvocationContext, field: ImageField, what: str) -> InputImage:
    """A picture of the gallery as it lies on the disk, so that nothing is encoded twice and alpha stays."""
    try:
        path = context.images.get_path(field.image_name)
        return InputImage(path.read_bytes(), field.image_name)
    except PermissionError:
        # With several users (6.14.2).
        raise InvalidRequestError(
            f"The {what} {field.image_name} belongs to another user.", remedy="Choose a picture of your own."
        ) from None
    except Exception:
        raise InvalidRequestError(
            f"The {what} {field.image_name} is no longer in the gallery.", remedy="Choose another picture."
        ) from None


def _mask(context: InvocationContext, field: ImageField) -> InputImage:
    """Invoke's mask, in which black is changed, in the form used inside, in which 255 is."""
    picture = _picture(context, field, "mask")
    with _blaming(picture, "mask"):
        return InputImage(mask_from_black(picture.data), field.image_name, marks="black")


@contextmanager
def _blaming(picture: InputImage, what: str) -> Iterator[None]:
    """Turn an error of the picture into one of the request that names it."""
    try:
        yield
    except ImageError as error:
        raise InvalidRequestError(f"The {what} {picture.name}: {error}", remedy="Choose another.") from None


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
    version="1.1.0",
    use_cache=False,
)
class OpenAIImageInvocation(ExternalImageInvocation):
    """Make and edit pictures with OpenAI's GPT Image. Needs a key; every picture costs money."""

    provider = "openai"

    model: ModelIdentifierField = _model_field("openai")
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] = InputField(
        default="auto", description="How much work the model puts in; xhigh and max from 2.5 on", ui_order=10
    )
    background: Literal["auto", "transparent", "opaque"] = InputField(
        default="auto", description="Transparent makes a picture with alpha", ui_order=11
    )
    input_fidelity: Literal["auto", "low", "high"] | None = InputField(
        default="auto", description="How closely pictures that are given are kept; GPT Image 1.5 and older", ui_order=12
    )
    moderation: Literal["auto", "low"] = InputField(
        default="auto", description="Low is less strict; for pictures from words alone", ui_order=13
    )

    def options(self) -> dict[str, OptionValue | None]:
        return {
            "quality": self.quality,
            "background": self.background,
            "input_fidelity": self.input_fidelity,
            "moderation": self.moderation,
        }


@invocation(
    "gemini_image_generation",
    title="Gemini Image",
    tags=["external", "gemini", "generation", "nano banana"],
    category="image",
    version="1.1.0",
    use_cache=False,
)
class GeminiImageInvocation(ExternalImageInvocation):
    """Make and edit pictures with Google's Gemini image models. Needs a key; every picture costs money."""

    provider = "gemini"

    model: ModelIdentifierField = _model_field("gemini")
    # The models take 0 to 1; a saved workflow may hold more, and gets the sentence that says so.
    temperature: float | None = InputField(default=None, ge=0, le=2, description="How varied, 0 to 1", ui_order=10)
    thinking_level: Literal["auto", "minimal", "medium", "high"] | None = InputField(
        default="auto", description="How long the model thinks first, where it does", ui_order=11
    )

    def options(self) -> dict[str, OptionValue | None]:
        return {"temperature": self.temperature, "thinking_level": self.thinking_level}


NODES: tuple[type[BaseInvocation], ...] = (OpenAIImageInvocation, GeminiImageInvocation)
