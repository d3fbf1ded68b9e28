"""What a request returns: images, notices and usage. Plain values, the same for every host."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .errors import NotSavedError, ProviderError
from .sizing import Size

__all__ = [
    "ConnectionCheck",
    "GeneratedImage",
    "GenerationResult",
    "Notice",
    "Usage",
]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know about a result, such as a change to the request; not an error.

    Attributes:
        code: The kind of notice, for programs. It is stable across releases.
        message: What to know, in one sentence.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The numbers of tokens by kind, as the provider counted them; None for what it did not report."""

    input_text_tokens: int | None = None
    input_image_tokens: int | None = None
    output_text_tokens: int | None = None
    output_image_tokens: int | None = None
    total_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """The sum of two usages; what is unknown in one of them is unknown in the sum."""

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
    """One finished image.

    Attributes:
        data: The bytes of the file as the provider sent it; with a mask, a PNG of the init image with the edit in it.
        mime_type: ``image/png``, ``image/jpeg`` or ``image/webp``, according to the bytes; with the setting
            ``experimental`` also ``image/gif`` and ``image/svg+xml``. With the notice ``kept_as_received`` it is one of
            the types in ``images.formats.containers.EXTENSIONS``.
        size: The size as received; with a mask, that of the init image.
        metadata: How it was made, in the form that ``images.metadata_files.place`` writes.
        seed: The seed that the provider reported, or else that was sent; None if there was neither.
        cost_usd: Its share of the cost of its call in USD: as the provider stated it, or else by the prices of the
            model; None if it is unknown.
        revised_prompt: The prompt as the provider rewrote it; None if the provider did not say.
        writer: Writes the file for ``save``; None for an image that no service made.
    """

    data: bytes = field(repr=False)
    mime_type: str
    size: Size
    metadata: Mapping[str, object] = field(repr=False)
    seed: int | None = None
    cost_usd: float | None = None
    revised_prompt: str | None = None
    writer: ImageWriter | None = field(default=None, repr=False, compare=False)

    def save(self, path: str | FilePath, *, overwrite: bool = False) -> None:
        """Write the image to a file, with its settings in it.

        A file with Content Credentials is written as it is, and the settings go into ``NAME.EXT.json`` beside it. The
        bytes keep their format, which ``mime_type`` names, whatever the extension of ``path`` is.

        Args:
            path: The file. Its folder must exist.
            overwrite: True to replace a file of that name.

        Raises:
            NotSavedError: The file exists, or it cannot be written. Either way nothing is changed.
            InvalidRequestError: ``path`` is not a path.
        """
        if self.writer is None:
            raise NotSavedError("Only an image that a Service made can be saved.")
        self.writer(self, path, overwrite)

    def _repr_png_(self) -> bytes | None:
        """The image for a notebook, if it is a PNG."""
        return self.data if self.mime_type == "image/png" else None

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """The image for a notebook, in its own format."""
        is_text = self.mime_type == "image/svg+xml"
        shown = self.data.decode("utf-8", "replace") if is_text else base64.b64encode(self.data).decode("ascii")
        return {self.mime_type: shown, "text/plain": repr(self)}


class FilePath(Protocol):
    """A path, such as a ``pathlib.Path``."""

    def __fspath__(self) -> str: ...


ImageWriter = Callable[[GeneratedImage, str | FilePath, bool], None]
"""Writes an image to a file, the last argument says whether over another one; the service gives its own to the images
that it makes, since this module touches no files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The result of a request.

    Attributes:
        provider: The provider's id.
        model: The model id that was sent.
        images: The images, in the order of the request; those that failed are missing.
        notices: What differs from the request, and what else to know.
        usage: The tokens of all successful calls; None if they are unknown.
        cost_usd: The cost of all successful calls in USD; None if it is unknown.
        request_ids: The provider's ids of the successful calls.
        errors: The errors of the calls that failed, if others succeeded.
        elapsed_s: The seconds from the start to the last response.
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
    """A successful connection test: the provider accepted the key and listed its models, or a token was made.

    Attributes:
        provider: The name of the provider, for messages.
        listed: The ids of the known models that it lists, including retired ones.
        missing: The ids of the known models that it does not list, except retired ones.
        sent: What says who you are: a key, a token, or nothing (None).
        token_source: Where the token is from, if the provider has no list of models and only that was tested; else
            None.
    """

    provider: str
    listed: tuple[str, ...]
    missing: tuple[str, ...]
    sent: Literal["key", "token"] | None = "key"
    token_source: str | None = None

    @property
    def message(self) -> str:
        """The result in one or two sentences."""
        if self.token_source:
            return (
                f"There is a token for {self.provider} from {self.token_source}. Only an image shows whether "
                f"{self.provider} accepts it, since it has no list of models."
            )
        known = len(self.listed) + len(self.missing)
        # OpenAI's list was behind its models by days (recorded traffic).
        missing = (
            f"; it does not list {', '.join(self.missing)}, which may work all the same, because lists are updated late"
            if self.missing
            else ""
        )
        outcome = f"accepted the {self.sent}" if self.sent else "responded"
        return f"{self.provider} {outcome} and lists {len(self.listed)} of {known} known models{missing}."
