"""What goes in and what comes out: plain values, shared by every host and every provider."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .errors import ProviderError
from .sizing import AspectRatio, Size

__all__ = [
    "MAX_PREVIEWS",
    "ConnectionCheck",
    "Failed",
    "GeneratedImage",
    "GenerationRequest",
    "GenerationResult",
    "InputImage",
    "MetadataMode",
    "Notice",
    "OptionValue",
    "Preview",
    "Progress",
    "Received",
    "Retrying",
    "Sending",
    "Usage",
]

OptionValue = str | float

MetadataMode = Literal["auto", "embed", "sidecar", "none"]
"""Where an image's settings are written: see ``metadata.place``."""

MAX_PREVIEWS = 3
"""The most previews of one picture: OpenAI's own limit for ``partial_images``, kept for every model."""


@dataclass(frozen=True, slots=True)
class InputImage:
    """A picture file that goes in.

    Attributes:
        data: The file's bytes, in any format that Pillow reads; for a mask a PNG of mode L, 255 = change.
        name: The file's name without its folder, for people and for the metadata.
        marks: For the metadata alone: ``black`` if black marked what to change in the file that a mask was made of.
    """

    data: bytes = field(repr=False)
    name: str
    marks: Literal["black"] | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What somebody wants. The planner says what of it a model can do.

    Attributes:
        model: ``provider/model-id``, a known bare id or alias; None for the newest model of a provider with a key.
        prompt: What to paint; sent as it is.
        n: How many pictures, 1 to 10.
        size: Exact pixels; excludes the next two.
        aspect_ratio: The ratio, such as 16:9.
        image_size: A named size: ``512``, ``1K``, ``2K``, ``4K``.
        seed: A number that makes a picture repeatable where the model knows seeds; picture i gets ``seed + i``.
        init_image: The picture to edit.
        mask: Where to edit it: a PNG of mode L, 255 = change.
        references: Pictures to look at.
        options: Values by option name; ``auto`` and empty mean the provider's own choice.
        previews: How often to be shown each picture while it is made, 0 to 3; OpenAI is reported to bill for them.
    """

    prompt: str
    model: str | None = None
    n: int = 1
    size: Size | None = None
    aspect_ratio: AspectRatio | None = None
    image_size: str | None = None
    seed: int | None = None
    init_image: InputImage | None = None
    mask: InputImage | None = None
    references: tuple[InputImage, ...] = ()
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    previews: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that was changed, left out or should be known; no error.

    Attributes:
        code: Its kind, stable across releases, for programs to read.
        message: One sentence, for people to read.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens by kind, as the provider counted them; None where it did not say."""

    input_text_tokens: int | None = None
    input_image_tokens: int | None = None
    output_text_tokens: int | None = None
    output_image_tokens: int | None = None
    total_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """The sum; what is unknown on one side is unknown in the sum."""

        def add(a: int | None, b: int | None) -> int | None:
            return None if a is None or b is None else a + b

        return Usage(
            input_text_tokens=add(self.input_text_tokens, other.input_text_tokens),
            input_image_tokens=add(self.input_image_tokens, other.input_image_tokens),
            output_text_tokens=add(self.output_text_tokens, other.output_text_tokens),
            output_image_tokens=add(self.output_image_tokens, other.output_image_tokens),
            total_tokens=add(self.total_tokens, other.total_tokens),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """One finished picture.

    Attributes:
        data: The bytes as the provider sent them; with a mask, a PNG of the init image with the edit laid in.
        mime_type: ``image/png``, ``image/jpeg`` or ``image/webp``, as the bytes say.
        size: The pixels that arrived; with a mask, those of the init image.
        metadata: What made it, in the form that ``metadata.place`` writes into the file.
        seed: The seed that was sent; None if none was.
        cost_usd: Its share of its call's cost; None if unknown.
        revised_prompt: The prompt as the provider rewrote it; None if it did not say.
    """

    data: bytes = field(repr=False)
    mime_type: str
    size: Size
    metadata: Mapping[str, object] = field(repr=False)
    seed: int | None = None
    cost_usd: float | None = None
    revised_prompt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """All that came of a request.

    Attributes:
        provider: The provider's id.
        model: The model id that was sent.
        images: The pictures, in the order of the request; those that failed are missing.
        notices: What was changed, left out or should be known.
        usage: The tokens of all calls that answered; None if none said.
        cost_usd: What all calls that answered cost; None if that is unknown.
        request_ids: The provider's names for the calls that answered.
        errors: The calls that failed, when others succeeded.
        elapsed_s: Seconds from the start to the last answer.
    """

    provider: str
    model: str
    images: tuple[GeneratedImage, ...]
    notices: tuple[Notice, ...]
    usage: Usage | None
    cost_usd: float | None
    request_ids: tuple[str, ...]
    errors: tuple[ProviderError, ...]
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class ConnectionCheck:
    """A provider that answered and took the key.

    Attributes:
        provider: Its name, for people.
        listed: The ids of the models known here that it lists; those that are retired here count if it lists them.
        missing: The ids of the models known here, not retired, that it does not list.
    """

    provider: str
    listed: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def message(self) -> str:
        """What was found, in one sentence."""
        known = len(self.listed) + len(self.missing)
        lacking = f"; not {', '.join(self.missing)}" if self.missing else ""
        return f"{self.provider} took the key and lists {len(self.listed)} of the {known} models known here{lacking}."


class Sending(NamedTuple):
    """A call goes out. ``call`` counts from 1 to ``calls``; ``attempt`` from 1."""

    call: int
    calls: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A call shows the picture that it is making; only to look at, never a result.

    Attributes:
        call: Which call, from 1 to ``calls``.
        calls: How many calls there are.
        index: Which preview of that call, from 1.
        count: How many were asked for; None where the model decides that.
        data: A whole picture file, smaller or coarser than the finished one.
        mime_type: ``image/png``, ``image/jpeg`` or ``image/webp``, as the bytes say.
        size: The pixels that the finished picture was asked to have; None where the model decides that.
    """

    call: int
    calls: int
    index: int
    count: int | None
    data: bytes = field(repr=False)
    mime_type: str
    size: Size | None = None


class Retrying(NamedTuple):
    """A call failed and goes out again after ``wait_s`` seconds; ``reason`` is the error that it met."""

    call: int
    calls: int
    wait_s: float
    reason: ProviderError


class Received(NamedTuple):
    """A call answered with these pictures."""

    call: int
    calls: int
    images: tuple[GeneratedImage, ...]


class Failed(NamedTuple):
    """A call is given up, for this reason."""

    call: int
    calls: int
    reason: ProviderError


Progress = Sending | Preview | Retrying | Received | Failed
"""What happens while a request runs."""
