"""Shared by the tests of the adapters: calls and responses made by hand, and a server that records requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from invokeai_external.adapters.base import Adapter, Answer
from invokeai_external.errors import ProviderError, RemedyAction
from invokeai_external.planning.input_images import CallImage
from invokeai_external.planning.plan import Call
from invokeai_external.providers.registry import Registry
from invokeai_external.request import OptionValue
from invokeai_external.sizing import SizeChoice
from invokeai_external.transport.messages import HttpResponse
from invokeai_external.transport.retry_policy import RetryPolicy, seconds_before_retry
from invokeai_external.untrusted_text import fit_to_show

from ..support.clock import TODAY
from ..support.servers import LocalServer

PNG = b"\x89PNG\r\n\x1a\nnot a whole picture, but an adapter never looks \xfb\xff\xfe"
"""Bytes whose base64 differs between the two alphabets."""

PNG_BASE64 = "iVBORw0KGgpub3QgYSB3aG9sZSBwaWN0dXJlLCBidXQgYW4gYWRhcHRlciBuZXZlciBsb29rcyD7//4="

RECEIVED_AT = 1_795_392_000.0
"""Mon, 23 Nov 2026 00:00:00 GMT."""


_REGISTRY = Registry(today=lambda: TODAY)


def call_image(data: bytes = PNG, mime_type: str = "image/png", name: str = "my holiday.png") -> CallImage:
    return CallImage(data, mime_type, name, "0" * 64)


def make_call(
    model: str,
    *,
    prompt: str = "a red fox",
    n: int = 1,
    size: SizeChoice | None = None,
    seed: int | None = None,
    init_image: CallImage | None = None,
    mask: CallImage | None = None,
    references: tuple[CallImage, ...] = (),
    options: Mapping[str, OptionValue] | None = None,
    previews: int = 0,
    markup: CallImage | None = None,
) -> Call:
    """A call like those of the planner, whether or not the model supports it."""
    return Call(
        model=_REGISTRY.resolve(model).model,
        mode="inpaint" if mask else "img2img" if init_image or references else "txt2img",
        prompt=prompt,
        n=n,
        size=size or SizeChoice(),
        seed=seed,
        init_image=init_image,
        mask=mask,
        references=references,
        options=options or {},
        previews=previews,
        markup=markup,
    )


def make_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A response with a body of bytes, or of anything else as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status, headers or {}, raw, RECEIVED_AT)


@dataclass(frozen=True)
class Failure:
    """One row of a table of errors: a response, and what a user and the retry policy learn from it.

    Attributes:
        name: The name of the case.
        status: The status of the response.
        body: The body of the response.
        kind: The class of the error.
        code: The code of the error.
        message: The facts in the message; a quotation is the last of them and ends the message.
        remedy: The facts in the remedy; None if there is no remedy.
        headers: The headers of the response.
        retry_after: As in ``ProviderError``.
        should_retry: As in ``ProviderError``.
        may_be_billed: As in ``ProviderError``.
        model: The model of the call, if it is not the usual one.
        action: The action of the remedy.
    """

    name: str
    status: int
    body: object
    kind: type[ProviderError]
    code: str
    message: tuple[str, ...]
    remedy: tuple[str, ...] | None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    should_retry: bool | None = None
    may_be_billed: bool = False
    model: str = ""
    action: RemedyAction = "advice"

    def check(self, error: ProviderError) -> None:
        assert type(error) is self.kind
        assert (error.code, error.status) == (self.code, self.status)
        assert (error.retry_after, error.should_retry) == (self.retry_after, self.should_retry)
        assert error.may_be_billed is self.may_be_billed
        assert [fact for fact in self.message if fact not in error.message] == []
        # A quotation is at the end, and nothing else is quoted.
        assert ": " not in error.message or error.message.endswith(self.message[-1])
        if self.remedy is None:
            assert error.remedy is None
            return
        assert error.remedy is not None
        assert error.remedy.action == self.action
        assert [fact for fact in self.remedy if fact not in error.remedy.text] == []
        # Users are warned if it may have been billed, and only then.
        assert ("billed" in error.remedy.text) is self.may_be_billed


def responses(names: Sequence[str]) -> st.SearchStrategy[HttpResponse]:
    """Responses of every status: JSON of any shape with these names in it, or any bytes, with any retry headers."""
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(names) | st.text(max_size=3), inner, max_size=4)
        ),
        max_leaves=12,
    )
    waits = st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry", "x-request-id"]), st.text(), max_size=3
    )
    statuses = st.sampled_from([200, 204, 302, 400, 401, 403, 404, 408, 409, 413, 429, 500]) | st.integers(100, 599)
    return st.builds(make_response, json_values | st.binary(max_size=200), statuses, waits)


def check_outcome(provider: Adapter, response: HttpResponse, call: Call) -> None:
    """Parse a response, and check what holds for every outcome: an image, or an error that can be shown and judged."""
    try:
        outcome: Answer | ProviderError = provider.parse(response, call)
    except ProviderError as error:
        outcome = error
    if isinstance(outcome, Answer):
        assert response.is_success
        assert any(image.is_readable for image in outcome.images)
        return
    assert outcome.status == response.status
    assert outcome.message == fit_to_show(outcome.message, len(outcome.message))
    assert outcome.message.endswith((".", "!", "?", "…"))
    try:
        wait_s = seconds_before_retry(outcome, attempt=1, waited_s=0, policy=RetryPolicy(), jitter=0.5)
    except ProviderError as last:
        wait_s = 0 if last.status == response.status else -1
    assert 0 <= wait_s <= 120


@dataclass(frozen=True, order=True)
class Part:
    """One field of a multipart body."""

    name: str
    filename: str | None
    content_type: str | None
    value: bytes | str


@dataclass(frozen=True)
class Recorded:
    """A request as a server received it; ``body`` is parsed JSON, or the parts of a multipart body in order."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: Any

    @property
    def content_kind(self) -> str:
        return self.headers["content-type"].partition(";")[0]


class Recorder(LocalServer):
    """The endpoints of both providers on a local port: records every request, and responds with one image."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        super().__init__(Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])]))

    async def _answer(self, request: Request) -> JSONResponse:
        self.requests.append(
            Recorded(request.method, request.url.path, request.url.query, dict(request.headers), await _body(request))
        )
        if request.url.path.endswith(":generateContent"):
            part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}
            return JSONResponse({"candidates": [{"content": {"role": "model", "parts": [part]}}]})
        return JSONResponse({"created": 0, "data": [{"b64_json": base64.b64encode(PNG).decode()}]})


async def _body(request: Request) -> Any:
    if not request.headers["content-type"].startswith("multipart/"):
        return await request.json()
    async with request.form() as form:
        return [
            Part(name, value.filename, value.content_type, await value.read())
            if isinstance(value, UploadFile)
            else Part(name, None, None, value)
            for name, value in form.multi_items()
        ]


@pytest.fixture(scope="session")
def _recorder() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture
def recorder(_recorder: Recorder) -> Recorder:
    """A recording server without any requests yet."""
    _recorder.requests.clear()
    return _recorder
