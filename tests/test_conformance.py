"""The kit for adapters: nothing is wrong with ours, and each of many deliberate faults in a copy is found."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from invokeai_external.adapters.base import Adapter, Answer
from invokeai_external.adapters.find import adapter_names
from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.errors import (
    AuthenticationError,
    InvalidResponseError,
    ProviderError,
    RateLimitedError,
    RejectedRequestError,
    UnavailableError,
)
from invokeai_external.planning.plan import Call
from invokeai_external.providers import catalog
from invokeai_external.providers.schema import ChoiceOption, InputImageLimits, ModelConfig
from invokeai_external.providers.sizings import FixedSizing
from invokeai_external.testing import GoodResponse, check_provider
from invokeai_external.testing.kit import KEY
from invokeai_external.transport.messages import HttpRequest, HttpResponse

from .service.common import PNG_1X1
from .support.providers import IN_INVOKE


@pytest.mark.parametrize("provider", IN_INVOKE)
def test_nothing_is_wrong_with_the_adapters_that_the_sandbox_has(provider: str) -> None:
    assert check_provider(catalog.page(provider).provider) == []


OPENROUTER_MODEL = ModelConfig(
    id="maker/image-1",
    provider="openrouter",
    name="Image 1",
    description="Of the test.",
    modes=("txt2img", "img2img"),
    input_images=InputImageLimits(max_count=2),
    seed=True,
    sizing=FixedSizing.model_validate({"kind": "fixed", "sizes": ["1024x1024", "1536x1024"]}),
    options={"quality": ChoiceOption(values=("auto", "low", "high"))},
)


def test_nothing_is_wrong_with_the_adapter_of_openrouter() -> None:
    tokens = {"prompt_tokens": 5, "completion_tokens": 100, "completion_tokens_details": {"image_tokens": 100}}
    image = {"b64_json": PNG_1X1, "media_type": "image/png"}
    body = json.dumps({"created": 1, "data": [image], "usage": {**tokens, "cost": 0.03}}).encode()
    good = GoodResponse(body, base64.b64decode(PNG_1X1))
    assert check_provider(catalog.page("openrouter").provider, good=good, model=OPENROUTER_MODEL) == []


def test_every_adapter_is_checked() -> None:
    checked = {catalog.page(provider).provider.adapter for provider in (*IN_INVOKE, "openrouter")}
    assert checked == set(adapter_names())


@dataclass(frozen=True, slots=True)
class Faulty(OpenAIImagesAdapter):
    """A copy of an adapter whose request or response is changed; each subclass below has one fault."""


class KeyInUrl(Faulty):
    def url(self, base_url: str, name: str, model: str = "", query: Mapping[str, str] | None = None) -> str:
        return OpenAIImagesAdapter.url(self, base_url, name, model, {**(query or {}), "key": KEY})


class OtherHost(Faulty):
    def url(self, base_url: str, name: str, model: str = "", query: Mapping[str, str] | None = None) -> str:
        return f"https://api.openai.com/v1/{self.paths[name]}"


def with_fields(request: HttpRequest, change: Callable[[dict[str, Any]], object]) -> HttpRequest:
    if request.json is None:
        return request
    fields = dict(request.json)
    change(fields)
    return replace(request, json=fields)


class ShorterPrompt(Faulty):
    def build(self, call: Call, base_url: str) -> HttpRequest:
        request = OpenAIImagesAdapter.build(self, call, base_url)
        return with_fields(request, lambda fields: fields.update(prompt=" ".join(call.prompt.split())))


class OwnModelId(Faulty):
    def build(self, call: Call, base_url: str) -> HttpRequest:
        request = OpenAIImagesAdapter.build(self, call, base_url)
        return with_fields(request, lambda fields: fields.update(model=call.model.id))


class NoOptions(Faulty):
    def build(self, call: Call, base_url: str) -> HttpRequest:
        return OpenAIImagesAdapter.build(self, replace(call, options={}), base_url)


class NoSize(Faulty):
    def build(self, call: Call, base_url: str) -> HttpRequest:
        request = OpenAIImagesAdapter.build(self, call, base_url)
        return with_fields(request, lambda fields: fields.pop("size", None))


class ReversedImages(Faulty):
    def build(self, call: Call, base_url: str) -> HttpRequest:
        request = OpenAIImagesAdapter.build(self, call, base_url)
        return replace(request, files=tuple(reversed(request.files)))


class NoMask(Faulty):
    def build(self, call: Call, base_url: str) -> HttpRequest:
        return OpenAIImagesAdapter.build(self, replace(call, mask=None), base_url)


class Random(Faulty):
    def build(self, call: Call, base_url: str) -> HttpRequest:
        request = OpenAIImagesAdapter.build(self, call, base_url)
        return with_fields(request, lambda fields: fields.update(user=f"user {next(_numbers)}"))


_numbers = itertools.count()


class Trusting(Faulty):
    def parse(self, response: HttpResponse, call: Call) -> Answer:
        if response.is_success and isinstance(response.document, dict):
            response.document["data"][0]["b64_json"]
        return OpenAIImagesAdapter.parse(self, response, call)


class NoImageIsAnAnswer(Faulty):
    def parse(self, response: HttpResponse, call: Call) -> Answer:
        try:
            return OpenAIImagesAdapter.parse(self, response, call)
        except InvalidResponseError:
            return Answer(images=())


class Reclassified(Faulty):
    """Its errors have other classes."""

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        try:
            return OpenAIImagesAdapter.parse(self, response, call)
        except ProviderError as error:
            raise self.another(error, response) from None

    def another(self, error: ProviderError, response: HttpResponse) -> ProviderError:
        raise NotImplementedError


class RefusedKeyIsRejected(Reclassified):
    def another(self, error: ProviderError, response: HttpResponse) -> ProviderError:
        return RejectedRequestError(error.message) if isinstance(error, AuthenticationError) else error


class LimitIsRejected(Reclassified):
    def another(self, error: ProviderError, response: HttpResponse) -> ProviderError:
        return RejectedRequestError(error.message) if isinstance(error, RateLimitedError) else error


class GatewayTimeoutIsSentAgain(Reclassified):
    def another(self, error: ProviderError, response: HttpResponse) -> ProviderError:
        return UnavailableError(error.message, status=503) if response.status in (504, 524) else error


class LosesTheWait(Reclassified):
    def another(self, error: ProviderError, response: HttpResponse) -> ProviderError:
        return error.replace(retry_after=None)


class NotBilled(Reclassified):
    def another(self, error: ProviderError, response: HttpResponse) -> ProviderError:
        return error.replace(may_be_billed=False)


class QuotesTheWholeBody(Reclassified):
    def another(self, error: ProviderError, response: HttpResponse) -> ProviderError:
        return type(error)(response.body.decode(errors="replace"), status=error.status)


class AnyList(Faulty):
    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        return frozenset()


FAULTS: Mapping[type[Adapter], str] = {
    KeyInUrl: "success",
    OtherHost: "request",
    ShorterPrompt: "request",
    OwnModelId: "request",
    NoOptions: "request",
    NoSize: "request",
    Random: "request",
    ReversedImages: "input_images",
    NoMask: "input_images",
    Trusting: "unusable_responses",
    NoImageIsAnAnswer: "unusable_responses",
    NotBilled: "unusable_responses",
    RefusedKeyIsRejected: "refusals",
    QuotesTheWholeBody: "refusals",
    LimitIsRejected: "retries",
    LosesTheWait: "retries",
    GatewayTimeoutIsSentAgain: "no_second_submit",
    AnyList: "listing",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_deliberate_fault_is_found(fault: type[Adapter]) -> None:
    found = check_provider(catalog.page("openai").provider, fault)
    assert FAULTS[fault] in {finding.check for finding in found}


def test_a_seed_that_is_not_sent_is_found() -> None:
    class NoSeed(GeminiAdapter):
        def build(self, call: Call, base_url: str) -> HttpRequest:
            return GeminiAdapter.build(self, replace(call, seed=None), base_url)

    (finding,) = check_provider(catalog.page("gemini").provider, NoSeed)
    assert finding.problem == "the seed is not in it"
