"""What comes out: images, notices, usage and progress. Plain values, shared by every host and every provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import ProviderError
from .sizing import Size

__all__ = [
    "ConnectionCheck",
    "Failed",
    "GeneratedImage",
    "GenerationResult",
    "Notice",
    "Preview",
    "Progress",
    "Received",
    "Retrying",
    "Sending",
    "Usage",
]


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


@dataclass(frozen=True, slots=True)
class Sending:
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


@dataclass(frozen=True, slots=True)
class Retrying:
    """A call failed and goes out again after ``wait_s`` seconds; ``reason`` is the error that it met."""

    call: int
    calls: int
    wait_s: float
    reason: ProviderError


@dataclass(frozen=True, slots=True)
class Received:
    """A call answered with these pictures."""

    call: int
    calls: int
    images: tuple[GeneratedImage, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A call is given up, for this reason."""

    call: int
    calls: int
    reason: ProviderError


Progress = Sending | Preview | Retrying | Received | Failed
"""What happens while a request runs."""
