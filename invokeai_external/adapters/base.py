"""The interface of an adapter: it builds the HTTP request for a call, and parses the response.

An adapter sends nothing, stores no key and has no state, so it can be tested without a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..planning.plan import Call
from ..providers.schema import ProviderConfig
from ..result import Notice, Usage
from ..transport.messages import HttpRequest, HttpResponse

__all__ = ["SANDBOX_HEADER", "SANDBOX_KEY", "Adapter", "Answer", "AnswerImage", "Source", "StreamEvent"]


SANDBOX_KEY = "sandbox"
"""The key that the command ``sandbox`` prints for its own server; real providers never give it out."""

SANDBOX_HEADER = "x-invokeai-external-sandbox"
"""The header with which the sandbox says that its images are free; real providers never send it."""


@dataclass(frozen=True, slots=True)
class AnswerImage:
    """One image of a response.

    Attributes:
        data: The bytes of the file; None if they are at ``url``.
        url: The URL to download it from; None if the file is in ``data``.
        revised_prompt: The prompt as the provider rewrote it; None if the response does not say.
    """

    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    revised_prompt: str | None = None

    @property
    def is_readable(self) -> bool:
        """False if the response contains neither the image nor a URL."""
        return self.data is not None or self.url is not None


@dataclass(frozen=True, slots=True)
class Source:
    """A web page that the model found by a search: its URL, which is http or https, and its title, if it has one."""

    url: str
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A parsed response.

    Attributes:
        images: The images, at least one of them readable.
        usage: The tokens; None if the response does not say.
        request_id: The provider's id of the request.
        model_version: The exact model that was used; None if the response does not say.
        text: The text that the model returned beside the images.
        notices: What to know about the response.
        searches: The search queries that the model made, each of which is billed beside the tokens.
        sources: What it found.
        seed: The seed that was used, from 0 to 4294967295; None if the response does not say.
        cost_usd: The cost in USD that the response states; None if it does not.
    """

    images: tuple[AnswerImage, ...]
    usage: Usage | None = None
    request_id: str | None = None
    model_version: str | None = None
    text: str | None = None
    notices: tuple[Notice, ...] = ()
    searches: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    seed: int | None = None
    cost_usd: float | None = None

    @property
    def is_grounded(self) -> bool:
        """True if the model searched the web for it."""
        return bool(self.searches or self.sources)


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One parsed event of a stream.

    Attributes:
        previews: Image files that show the progress; never a result.
        body: Its part of the response; None if it contains only previews.
        has_image: True if it contains an image of the response.
        is_last: True if it is marked as the end of the response. Some gateways mark every event.
        has_usage: True if it contains the tokens, as far as the stream will report them.
    """

    previews: tuple[bytes, ...] = field(default=(), repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    has_image: bool = False
    is_last: bool = False
    has_usage: bool = False


class Adapter(Protocol):
    """A wire format, as pure functions. Its errors name no key and quote at most one line of the provider's message."""

    @property
    def provider(self) -> ProviderConfig:
        """The provider that it speaks to, or whose API the server at the base URL speaks."""
        ...

    @property
    def sandbox_path(self) -> str:
        """The path of this wire format in the sandbox."""
        ...

    @property
    def counts_previews(self) -> bool:
        """True if the number of requested previews is sent, of which fewer may arrive; False if the model decides."""
        ...

    def auth_headers(self, key: str) -> dict[str, str]:
        """The headers with the key. No other method is given one."""
        ...

    def doubts_about(self, base_url: str) -> tuple[Notice, ...]:
        """What to know about a base URL at which the wire format may be another one."""
        ...

    def build(self, call: Call, base_url: str) -> HttpRequest:
        """The HTTP request for a call; it requests a stream of events if the call has previews."""
        ...

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        """Parse a response.

        Raises:
            ProviderError: The response is an error, or contains no image.
        """
        ...

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        """Parse one event of a stream.

        Args:
            event: The head of the response, with the data of the event as its body.
            call: The call.

        Raises:
            ProviderError: The event is an error, or not JSON.
        """
        ...

    def join_events(self, bodies: Sequence[Mapping[str, Any]], head: HttpResponse, call: Call) -> Answer:
        """Parse a whole stream; the result is what ``parse`` returns for a response in one piece.

        Args:
            bodies: The bodies of its events, in order.
            head: The head of the response.
            call: The call.

        Raises:
            ProviderError: The stream ended before its image, or without one.
        """
        ...

    def refuses_stream(self, response: HttpResponse) -> bool:
        """True if an error may mean that the server does not support streams, so that the call works without one."""
        ...

    def build_listing(self, base_url: str, page: str | None = None) -> HttpRequest:
        """The HTTP request for the list of models, which is free: its first page, or the one that is named."""
        ...

    def next_page(self, response: HttpResponse) -> str | None:
        """The name of the page after this one of the list of models; None if it is the last."""
        ...

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        """The ids of the models that a response lists.

        Raises:
            ProviderError: The response is an error, or contains no list of models.
        """
        ...
