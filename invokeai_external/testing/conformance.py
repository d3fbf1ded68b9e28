"""Checks that an adapter behaves as the service expects, with a scripted server in the place of the provider.

It sends each fault that any provider may have, and finds out whether the error has the right class, whether the call is
sent again when and only when that cannot be billed twice, and whether the key stays where it belongs.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote

import anyio
import anyio.lowlevel

from ..adapters.base import Adapter
from ..adapters.find import adapter_of
from ..errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidResponseError,
    ModelRetiredError,
    NetworkError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    TimedOutError,
    UnavailableError,
)
from ..images.formats.containers import begins_like_image
from ..providers.provider_config import ProviderConfig
from ..providers.registry import Registry
from ..providers.schema import ModelConfig
from ..request import InputImage
from .bodies import as_number, broken, files_of, png_of, scalars, values_of_options
from .kit import BASE_URL, KEY, MOST_ATTEMPTS, PROMPT, SENT_ID, Clock, GoodResponse, Kit, response_of_sandbox
from .scripted_server import HANGS, LOST, NOT_CONNECTED, Response, ScriptedServer

__all__ = ["Finding", "GoodResponse", "check_provider"]

_CANCEL_S = 2.0
_LONGEST_MESSAGE = 2_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an adapter.

    Attributes:
        check: The name of the check.
        problem: What was expected, and what happened.
    """

    check: str
    problem: str


def check_provider(
    provider: ProviderConfig,
    adapter: type[Adapter] | None = None,
    *,
    good: GoodResponse | None = None,
    model: ModelConfig | None = None,
    errors: Sequence[tuple[Response, type[ProviderError]]] = (),
) -> list[Finding]:
    """Check an adapter; the list is empty if nothing is wrong. Nothing is sent to any network.

    Args:
        provider: The provider.
        adapter: The class of its adapter; by default, the one that its ``adapter`` names.
        good: A response with one image; by default, that of the sandbox, if it has the wire format.
        model: A model of the provider; by default, the newest one of the catalogue.
        errors: Responses as only this provider sends them, and the class of the error that each must become.

    Raises:
        ValueError: There is no good response, and the sandbox does not have the wire format.
    """
    found = model or Registry().models(provider.id)[0]
    if good is None:
        usual = adapter_of(provider)
        if usual.sandbox_path is None:
            raise ValueError("Pass a good response: the sandbox does not have this wire format.")
        good = anyio.run(response_of_sandbox, usual, found)
    made = adapter(provider) if adapter else adapter_of(provider)
    kit = Kit(made, found.model_copy(update={"api_model": SENT_ID}), good, tuple(errors))
    return anyio.run(_findings, kit)


async def _findings(kit: Kit) -> list[Finding]:
    found: list[Finding] = []
    for check in _CHECKS:
        name = check.__name__.removeprefix("_")
        try:
            found += [Finding(name, problem) async for problem in check(kit)]
        # Whatever an adapter raises that is not an error of a provider is a finding.
        except Exception as error:
            found.append(Finding(name, f"it raised {type(error).__name__}: {error}"))
    return found


# The checks: each yields what is wrong.


async def _request(kit: Kit) -> AsyncIterator[str]:
    """The request goes to the base URL, and has in it what was asked for."""
    request = kit.built()
    if request != kit.built():
        yield "two requests for the same call differ"
    if not request.url.startswith(f"{BASE_URL}/"):
        yield f"the URL {request.url} is not below the base URL"
    if request.method != "POST":
        yield f"the method is {request.method}"
    texts = [text for text in scalars(request) if isinstance(text, str)]
    if not any(PROMPT in text for text in texts):
        yield "the prompt is not in it as it was written"
    if not any(SENT_ID in text for text in (unquote(request.url), *texts)):
        yield "the model's id for the provider (ModelConfig.sent_id) is not in it"
    if "None" in texts:
        yield "it has the text None in the place of a value"
    if kit.model.seed and 4321 not in [as_number(value) for value in scalars(kit.built(seed=4321))]:
        yield "the seed is not in it"
    if len(sizes := [choice.nominal for choice in kit.model.sizing.presets() if choice.nominal]) > 1:
        first, last = kit.built(size=sizes[0]), kit.built(size=sizes[-1])
        if first == last:
            yield "the size makes no difference"
    for name, value in values_of_options(kit.model).items():
        sent = kit.call(options={name: value}).options
        if name in sent and kit.built(options={name: value}) == request:
            yield f"the option {name} makes no difference"


async def _input_images(kit: Kit) -> AsyncIterator[str]:
    """The input images are in the request, in their order, and so is the mask."""
    if "img2img" in kit.model.modes:
        files = [InputImage(png_of(colour), f"{colour}.png") for colour in ("red", "blue")]
        given = files[: kit.model.input_images.max_count]
        call = kit.call(references=given)
        sent = list(files_of(kit.adapter.build(call, BASE_URL)))
        if [image.data for image in call.images] != [data for data in sent if data in {i.data for i in call.images}]:
            yield "the reference images are not in it, or not in their order"
    if "inpaint" in kit.model.modes:
        mask = InputImage(png_of("white", mode="L"), "mask.png")
        call = kit.call(init_image=InputImage(png_of("red"), "red.png"), mask=mask)
        if call.mask and call.mask.data not in list(files_of(kit.adapter.build(call, BASE_URL))):
            yield "the mask is not in it"


async def _success(kit: Kit) -> AsyncIterator[str]:
    """The image of a good response is handed over, after one request, with the key in one header only."""
    outcome = await kit.send(kit.good_response)
    if outcome.reply is None:
        yield f"a good response gives {outcome.what}: {outcome.error}"
        return
    images = [image.data for image in outcome.reply.answer.images]
    if images != [kit.good.image]:
        yield "the image is not that of the response"
    answer = outcome.reply.answer
    for name, stated, read in (("seed", kit.good.seed, answer.seed), ("cost", kit.good.cost_usd, answer.cost_usd)):
        if stated is not None and stated != read:
            yield f"the {name} is {read}, not {stated}"
    (request,) = outcome.server.received
    if KEY in unquote(request.url) or KEY.encode() in request.body:
        yield "the key is in the URL or in the body"
    named = [name for name, value in request.headers.items() if KEY in value]
    if len(named) != int(kit.adapter.provider.needs_key):
        yield f"the key is in {len(named)} headers"


async def _headers(kit: Kit) -> AsyncIterator[str]:
    """Whatever a header says, the image is handed over, and the seed and the cost are possible ones or unknown."""
    for name in kit.good.headers:
        for value in ("", "abc", "-1", "7.5", "1e99", "nan", "9" * 400):
            outcome = await kit.send(replace(kit.good_response, headers={**kit.good.headers, name: value}))
            if outcome.reply is None:
                if name != "content-type":
                    yield f"the header {name}: {value[:9]} gives {outcome.what}"
                continue
            seed, cost = outcome.reply.answer.seed, outcome.reply.answer.cost_usd
            if seed is not None and not 0 <= seed <= 0xFFFFFFFF:
                yield f"the header {name}: {value[:9]} gives the seed {seed}"
            if value == "7.5" and kit.good.headers[name] == str(kit.good.seed) and seed is not None:
                yield f"the header {name}: {value} gives the seed {seed}"
            if cost is not None and not 0 <= cost < 1_000_000:
                yield f"the header {name}: {value[:9]} gives the cost {cost}"


async def _own_errors(kit: Kit) -> AsyncIterator[str]:
    """The errors that only this provider sends have the classes that were named."""
    for response, expected in kit.errors:
        outcome = await kit.send(response)
        if not isinstance(outcome.error, expected):
            yield f"{response!r} gives {outcome.what}, not {expected.__name__}"
        retried = isinstance(outcome.error, RateLimitedError | UnavailableError) and not outcome.error.may_be_billed
        if expected in (RateLimitedError, UnavailableError) and outcome.sent != (MOST_ATTEMPTS if retried else 1):
            yield f"{response!r} is sent {outcome.sent} times"


async def _refusals(kit: Kit) -> AsyncIterator[str]:
    """A refusal has its class, is not sent again, and shows no key and no endless or hidden text."""
    for status, classes in _REFUSALS.items():
        message = f"Refused {KEY} \x1b[31m\u202e{'long ' * 2_000}"
        outcome = await kit.send(_error(status, message))
        if outcome.sent != 1 or not isinstance(outcome.error, classes):
            yield f"HTTP {status} gives {outcome.what}, not {' or '.join(c.__name__ for c in classes)} after one"
        text = f"{outcome.error}"
        if KEY in text or len(text) > _LONGEST_MESSAGE or not text.replace("\n", "").isprintable():
            yield f"the error of HTTP {status} shows the key, hidden characters or an endless text"


_REFUSALS: Mapping[int, tuple[type[ProviderError], ...]] = {
    400: (RejectedRequestError,),
    401: (AuthenticationError,),
    402: (QuotaError,),
    403: (AuthenticationError, QuotaError, ContentBlockedError),
    404: (RejectedRequestError, ModelRetiredError),
    413: (RejectedRequestError,),
}


async def _retries(kit: Kit) -> AsyncIterator[str]:
    """A call that was not accepted is sent again: after the wait that the provider asks for, and not for ever."""
    for first, least_s in (
        (_error(429, "Slow down.", {"retry-after": "3"}), 3),
        (_error(503, "Overloaded."), 0.1),
        (NOT_CONNECTED, 0.1),
    ):
        outcome = await kit.send(first, kit.good_response)
        if outcome.reply is None or outcome.waited_s < least_s:
            yield f"{first!r} gives {outcome.what}, after {outcome.waited_s} s; expected: an image after {least_s} s"
    outcome = await kit.send(_error(429, "Slow down."))
    if not isinstance(outcome.error, RateLimitedError | QuotaError) or outcome.sent > MOST_ATTEMPTS:
        yield f"HTTP 429 for ever gives {outcome.what}"


async def _no_second_submit(kit: Kit) -> AsyncIterator[str]:
    """A call that may have been billed is never sent again, and its error says that it may have been billed."""
    gateway = Response(504, b"<html>Gateway timeout</html>", {"content-type": "text/html"})
    for step, expected in (
        (gateway, UnavailableError),
        (replace(gateway, status=524), UnavailableError),
        (_error(504, "Deadline exceeded."), UnavailableError),
        (LOST, NetworkError),
    ):
        outcome = await kit.send(step, kit.good_response)
        if outcome.sent != 1 or not isinstance(outcome.error, expected) or not outcome.error.may_be_billed:
            yield f"{step!r} gives {outcome.what}; expected: {expected.__name__} that may be billed, after one request"


async def _unusable_responses(kit: Kit) -> AsyncIterator[str]:
    """A response with HTTP 200 and no image is an error of a provider, and the call is not sent again."""
    json_type = {"content-type": "application/json"}
    bodies = [b"", b"{}", b"[]", b"null", b"0", b'"text"', b"<html></html>", b"\xff\xfe", kit.good.body[:-40]]
    bodies += [b'{"data": [{}]}', b'{"error": {"message": "It failed."}}', b'{"error": "It failed."}']
    for body in [*bodies, *broken(kit.good.body)]:
        outcome = await kit.send(Response(200, body, json_type))
        if outcome.reply:
            images = outcome.reply.answer.images
            is_body = any(image.data == body for image in images) and not begins_like_image(body)
            if is_body or not any(image.is_readable for image in images):
                yield f"{body[:60]!r} is accepted without an image"
        elif outcome.sent != 1:
            yield f"{body[:60]!r} is sent {outcome.sent} times"
        elif isinstance(outcome.error, InvalidResponseError) and not outcome.error.may_be_billed:
            yield f"the error of {body[:60]!r} does not say that it may have been billed"


async def _cancelling(kit: Kit) -> AsyncIterator[str]:
    """A call ends as soon as it is cancelled, and is not sent again."""
    server = ScriptedServer([HANGS])
    async with kit.caller(server, Clock()) as send:
        with anyio.move_on_after(_CANCEL_S) as patience:
            async with anyio.create_task_group() as group:
                group.start_soon(send)
                await server.waiting.wait()
                group.cancel_scope.cancel()
    if patience.cancelled_caught or len(server.received) != 1:
        yield f"a call that is cancelled does not end, or is sent {len(server.received)} times"


async def _timeouts(kit: Kit) -> AsyncIterator[str]:
    """A provider that never responds is a timeout, and the call is not sent again."""
    server = ScriptedServer([HANGS])
    async with kit.caller(server, Clock(), total_timeout_s=0.2) as send:
        try:
            await send()
        except TimedOutError as error:
            if error.may_be_billed and len(server.received) == 1:
                return
        except ProviderError as error:
            yield f"it gives {type(error).__name__}"
    yield f"no response is not a timeout that may be billed, after {len(server.received)} requests"


async def _listing(kit: Kit) -> AsyncIterator[str]:
    """The list of models, if there is one, is below the base URL, and its errors have their classes."""
    if not kit.adapter.lists_models:
        return
    error, server = await kit.list_models(_error(401, f"Wrong key {KEY}."))
    if not isinstance(error, AuthenticationError) or KEY in str(error):
        yield f"a refused key gives {type(error).__name__}"
    if not all(request.method == "GET" and request.url.startswith(f"{BASE_URL}/") for request in server.received):
        yield "it is not asked for with GET below the base URL"
    for body in (b"", b"[]", b"{}", b'{"data": 1, "models": 1}', b"<html>"):
        error, _ = await kit.list_models(Response(200, body))
        if error is None:
            yield f"{body!r} is taken for a list of models"


_CHECKS: Sequence[Callable[[Kit], AsyncIterator[str]]] = (
    *(_request, _input_images, _success, _headers, _own_errors, _refusals, _retries, _no_second_submit),
    *(_unusable_responses, _cancelling, _timeouts, _listing),
)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the form that most providers use."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode()
    return Response(status, body, {"content-type": "application/json", **(headers or {})})
