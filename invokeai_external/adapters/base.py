"""The interface of an adapter: it builds the HTTP request for a call, and parses the response.

An adapter sends nothing, stores no key and has no state, so it can be tested without a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from ..errors import InvalidResponseError
from ..planning.plan import Call
from ..providers.authentication import Authentication, BearerKey, HeaderKey, NoKey
from ..providers.provider_config import ProviderConfig
from ..result import Notice, Usage
from ..transport.messages import HttpRequest, HttpResponse

__all__ = ["SANDBOX_HEADER", "SANDBOX_HOST", "SANDBOX_KEY", "Adapter", "Answer", "AnswerImage", "Source", "StreamEvent"]


SANDBOX_KEY = "sandbox"
"""The key that the command ``sandbox`` prints for its own server; real providers never give it out."""

SANDBOX_HOST = "sandbox.invalid"
"""The host of the sandbox in the place of the providers: no name of the internet ends so (RFC 2606)."""

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


@dataclass(frozen=True, slots=True)
class Adapter(ABC):
    """A wire format, as pure functions. Its errors name no key and quote at most one line of the provider's message.

    A wire format that has no streams, no list of models or no sandbox inherits what that means.

    Attributes:
        provider: The provider that it speaks to, or whose API the server at the base URL speaks.
    """

    provider: ProviderConfig

    paths: ClassVar[Mapping[str, str]]
    """Where its endpoints are below the base URL, by what they are for; ``{model}`` stands for the model's id."""

    usual_version: ClassVar[str] = "v1"
    """What follows the host in a base URL without a path."""

    usual_auth: ClassVar[Authentication] = BearerKey(type="bearer")
    """How the key is sent, unless the provider says otherwise."""

    sandbox_path: ClassVar[str | None] = None
    """The path of this wire format in the sandbox; None if the sandbox does not have it."""

    can_discover: ClassVar[bool] = False
    """True if it can ask the provider which models it has and what each of them supports."""

    sent_options: ClassVar[frozenset[str] | None] = None
    """The names of the options that it sends; None if it sends any option under its own name."""

    counts_previews: ClassVar[bool] = False
    """True if the number of requested previews is sent, of which fewer may arrive; False if the model decides."""

    @property
    def api_version(self) -> str:
        """The path to append to a base URL without a path."""
        version = self.provider.api_version
        return self.usual_version if version is None else version

    @property
    def lists_models(self) -> bool:
        """True if it has a list of models."""
        return self.provider.list_models and "models" in self.paths

    @property
    def discovers_models(self) -> bool:
        """True if the provider's models are those that it lists, and not only those of the catalogue."""
        return self.provider.discover_models and self.can_discover

    def auth_headers(self, key: str) -> dict[str, str]:
        """The headers with the key, or with the token in its place; empty if there is neither. No other method is
        given one.
        """
        if not key:
            return {}
        match self.provider.auth or self.usual_auth:
            case NoKey():
                return {}
            case HeaderKey(name=name):
                return {name: key}
            case _:
                return {"Authorization": f"Bearer {key}"}

    def doubts_about(self, base_url: str) -> tuple[Notice, ...]:
        """What to know about a base URL at which the wire format may be another one."""
        return ()

    def url(self, base_url: str, name: str, model: str = "", query: Mapping[str, str] | None = None) -> str:
        """The URL of an endpoint.

        Args:
            base_url: The base URL, without a slash at its end.
            name: What the endpoint is for, as in ``paths``.
            model: The model's id as the provider knows it.
            query: What this request has in its query, beside what all requests to the provider have.
        """
        path = self.provider.paths.get(name, self.paths[name]).replace("{model}", quote(model, safe=""))
        parameters = urlencode({**self.provider.query, **(query or {})})
        return f"{base_url}/{path}{'?' if parameters else ''}{parameters}"

    def with_headers(self, request: HttpRequest) -> HttpRequest:
        """A request of this adapter with the headers that its provider asks for."""
        return replace(request, headers={**self.provider.headers, **request.headers})

    @abstractmethod
    def build(self, call: Call, base_url: str) -> HttpRequest:
        """The HTTP request for a call; it requests a stream of events if the call has previews."""

    @abstractmethod
    def parse(self, response: HttpResponse, call: Call) -> Answer:
        """Parse a response.

        Raises:
            ProviderError: The response is an error, or contains no image.
        """

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        """Parse one event of a stream.

        Args:
            event: The head of the response, with the data of the event as its body.
            call: The call.

        Raises:
            ProviderError: The event is an error, or not JSON.
        """
        return StreamEvent()

    def join_events(self, bodies: Sequence[Mapping[str, Any]], head: HttpResponse, call: Call) -> Answer:
        """Parse a whole stream; the result is what ``parse`` returns for a response in one piece.

        Args:
            bodies: The bodies of its events, in order.
            head: The head of the response.
            call: The call.

        Raises:
            ProviderError: The stream ended before its image, or without one.
        """
        raise InvalidResponseError(
            f"{self.provider.name} sent a stream of events, which was not requested.",
            remedy="It may have been billed. Check the base URL.",
            may_be_billed=True,
        )

    def refuses_stream(self, response: HttpResponse) -> bool:
        """True if an error may mean that the server does not support streams, so that the call works without one."""
        return False

    def build_listing(self, base_url: str, page: str | None = None) -> HttpRequest:
        """The HTTP request for the list of models, which is free: its first page, or the one that is named."""
        return HttpRequest(url=self.url(base_url, "models"))

    def next_page(self, response: HttpResponse) -> str | None:
        """The name of the page after this one of the list of models; None if it is the last."""
        return None

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        """The ids of the models that a response lists.

        Raises:
            ProviderError: The response is an error, or contains no list of models.
        """
        raise NotImplementedError(f"{type(self).__name__} has no list of models")

    def build_discovery(self, base_url: str, model_id: str | None = None) -> HttpRequest:
        """The HTTP request for what each model supports, or, with an id from there, for the page of that model."""
        raise NotImplementedError(f"{type(self).__name__} discovers no models")

    def parse_discovery(self, response: HttpResponse) -> Mapping[str, Mapping[str, Any]]:
        """What a response says of each model, by its id, the newest first.

        Raises:
            ProviderError: The response is an error, or contains no list of models.
        """
        raise NotImplementedError(f"{type(self).__name__} discovers no models")

    def discovered_model(self, listed: Mapping[str, Any], page: HttpResponse | None) -> dict[str, Any] | None:
        """The raw fields of a model, without its id and provider; None if it cannot be used.

        Args:
            listed: What ``parse_discovery`` returned for it.
            page: The response to the request for its page, which may be an error; None if it was not asked for.
        """
        raise NotImplementedError(f"{type(self).__name__} discovers no models")

    def build_key_test(self, base_url: str) -> HttpRequest | None:
        """A request, which is free, that only a valid key passes; None if the list of models is one."""
        return None

    def parse_key_test(self, response: HttpResponse) -> None:
        """Raise ProviderError if the response to ``build_key_test`` is an error."""
        raise NotImplementedError(f"{type(self).__name__} has no test of a key")
