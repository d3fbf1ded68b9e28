"""What a provider is: how a call becomes an HTTP request, and an HTTP response becomes images or a typed error.

Nothing in here sends anything, knows a key, or keeps state: a provider can be tested whole without a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..planning.plan import Call
from ..providers.schema import ProviderConfig
from ..result import Notice, Usage
from ..transport.messages import HttpRequest, HttpResponse

__all__ = ["SANDBOX_HEADER", "Adapter", "Answer", "AnswerImage", "StreamEvent"]


SANDBOX_HEADER = "x-invokeai-external-sandbox"
"""The header by which the sandbox says that its pictures cost nothing; real providers never send it."""


@dataclass(frozen=True, slots=True)
class AnswerImage:
    """One picture of an answer: its bytes, or the address to fetch them from, or neither if it cannot be read."""

    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    revised_prompt: str | None = None

    @property
    def is_readable(self) -> bool:
        return self.data is not None or self.url is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a call gave.

    Attributes:
        images: The pictures, at least one of them readable.
        usage: The tokens, None where the provider did not say.
        request_id: The provider's name for the call.
        model_version: The model that answered, where the provider says so.
        text: What the model said beside the pictures.
        notices: What should be known of the answer.
    """

    images: tuple[AnswerImage, ...]
    usage: Usage | None = None
    request_id: str | None = None
    model_version: str | None = None
    text: str | None = None
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """What one event of a stream holds.

    Attributes:
        previews: Picture files that show how far the picture is; never a result.
        body: What it says of the answer; None if nothing.
        has_image: True if it holds an image of the answer.
        is_last: True if it says that the answer ends here; some gateways say so in every event.
        has_usage: True if it holds the tokens, or as much of them as there will be.
    """

    previews: tuple[bytes, ...] = field(default=(), repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    has_image: bool = False
    is_last: bool = False
    has_usage: bool = False


class Adapter(Protocol):
    """One provider: a few facts and a few pure functions."""

    @property
    def provider(self) -> ProviderConfig: ...

    @property
    def counts_previews(self) -> bool:
        """True if it sends as many previews as were asked for; False if the model decides how many."""
        ...

    def auth_headers(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""
        ...

    def build(self, call: Call, base_url: str) -> HttpRequest:
        """The HTTP request of a call, for a stream of events if the call asks for previews."""
        ...

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        """The pictures of an answer; raises a ProviderError if there are none."""
        ...

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        """What an event of a stream holds, its data as an answer; a ProviderError for an error and what is no JSON."""
        ...

    def join_events(self, bodies: Sequence[Mapping[str, Any]], head: HttpResponse, call: Call) -> Answer:
        """The answer of a stream at its end, the same as ``parse`` gives; a ProviderError if it broke off before it."""
        ...

    def refuses_stream(self, response: HttpResponse) -> bool:
        """True if an answer may mean that a call is only refused because it asks for a stream."""
        ...

    def build_listing(self, base_url: str) -> HttpRequest:
        """The HTTP request for the list of models, which costs nothing."""
        ...

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        """The ids of an answer's list of models; raises a ProviderError if it holds none."""
        ...
