"""What a provider is: how a call becomes an HTTP request, and an HTTP response becomes images or a typed error.

Nothing in here sends anything, knows a key, or keeps state: a provider can be tested whole without a network.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from ..bounded_json import load
from ..errors import (
    InvalidResponseError,
    ModelRetiredError,
    NotConfiguredError,
    ProviderError,
    QuotaError,
    RejectedRequestError,
    TimedOutError,
    UnavailableError,
)
from ..models import ModelConfig, ProviderInfo
from ..planner import Call
from ..request import Notice, Usage
from ..retry import asked_wait, should_retry_header

__all__ = [
    "GATEWAY_UNPAID",
    "PAID_AT_GATEWAY",
    "SANDBOX_HEADER",
    "Answer",
    "AnswerImage",
    "FilePart",
    "HttpRequest",
    "HttpResponse",
    "Provider",
    "StreamEvent",
    "answer_image",
    "asked_for",
    "broken_off",
    "count",
    "decode_base64",
    "encode_base64",
    "error_fields",
    "error_from",
    "error_in",
    "error_of_status",
    "invalid_answer",
    "is_private_host",
    "lacks_money",
    "normalise_base_url",
    "one_line",
    "parse_json",
    "said",
    "text_of",
]

ErrorKind = TypeVar("ErrorKind", bound=ProviderError)

SANDBOX_HEADER = "x-invokeai-external-sandbox"
"""The header by which the sandbox says that its pictures cost nothing; real providers never send it."""

_LONGEST_QUOTE = 300
"""How many characters of a provider's own words are shown."""

_UNKNOWN_OUTCOME = frozenset({408, 504, 520, 522, 524})
"""What a gateway answers that gave up waiting or lost the connection behind it (504, and Cloudflare's 52x), and 408:
the provider goes on with the request, and bills it."""

_LOOK_FIRST = "It may have been billed: look at your usage before you send it again."

_MOST_TOKENS = 10**9
"""What is above this is no count of tokens: the dearest image has some ten thousand."""

GATEWAY_UNPAID = "insufficient_user_quota"
"""The code of gateways for many providers (new-api, one-api) for an account of theirs without money, with HTTP 403."""

PAID_AT_GATEWAY = "Add credit where the operator of your base URL says."

_NO_MONEY = re.compile(
    r"prepayment credits|credits? (?:balance )?(?:is|are) (?:too low|depleted)|spend(?:ing)? (?:cap|limit)"
    r"|billing hard limit",
    re.IGNORECASE,
)
"""What providers say, often without a code of the kind, of an account without money or at its owner's limit."""

_ENDPOINT = r"/(?:images/(?:generations|edits)|models(?:/[^/]*)?)$"
"""What the adapters put after a base URL, in the end of a path; people copy whole addresses."""

_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
"""Turns base64's alphabet for URLs into the standard one."""

_DECODED_AT_ONCE = 1 << 20

_HOST_AND_PORT = r"(?ai:(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::[0-9]*)?)"
"""A name in ASCII (others are written in punycode) or an address."""

_NUMBER = r"[0-9]+|0x[0-9a-f]*"
"""An IPv4 address as one number, which systems resolve too."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file of a multipart request."""

    name: str
    filename: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request without its key: a POST of either ``json`` or ``form`` and ``files`` (multipart), or a GET of neither.

    Attributes:
        url: The whole address; never a key in it.
        json: The JSON body.
        form: The text fields of a multipart body.
        files: The files of a multipart body, in order.
    """

    url: str
    json: Mapping[str, Any] | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    files: tuple[FilePart, ...] = ()

    @property
    def method(self) -> str:
        return "GET" if self.json is None and not self.files else "POST"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer as it arrived.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        body: The whole body, decompressed; empty if there is a document.
        received_at: Seconds since the epoch, to read dates in the headers by.
        document: The JSON of the body, where its pictures were decoded while it arrived: they are bytes in it.
        is_cut_short: True if what came can be read and is not all that was to come.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: float
    document: object | None = field(default=None, repr=False)
    is_cut_short: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_stream(self) -> bool:
        """True for an answer that comes as a stream of events, which its body leaves out."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return self.is_success and media_type == "text/event-stream"


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


class Provider(Protocol):
    """One provider: a few facts and a few pure functions."""

    @property
    def info(self) -> ProviderInfo: ...

    @property
    def counts_previews(self) -> bool:
        """True if it sends as many previews as were asked for; False if the model decides how many."""
        ...

    def normalise_base_url(self, url: str) -> str:
        """The base URL in the form that ``build`` takes; raises NotConfiguredError if it cannot be used."""
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


def is_private_host(host: str) -> bool:
    """True for names and addresses that do not leave the own machine or network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name without a dot can only be resolved locally; a bare number is an address in disguise.
        without_dot = "." not in host and not re.fullmatch(_NUMBER, host)
        return without_dot or host.endswith((".local", ".localhost", ".internal"))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_private


def normalise_base_url(url: str, *, provider: ProviderInfo, version: str) -> str:
    """A base URL without a trailing slash, to which an endpoint such as ``/images/edits`` can be added.

    Args:
        url: As the user wrote it. What has a path is used as it stands, since gateways have paths of their own; an
            endpoint at its end is cut off.
        provider: Whose it is, for the error.
        version: The API version that is added where there is no path.

    Raises:
        NotConfiguredError: Not a URL of http or https, plain http to a public host, or with a name, password, query or
            fragment.
    """

    def refuse(why: str) -> NotConfiguredError:
        return NotConfiguredError(
            f"The base URL of {provider.name} {why}.",
            hint=f"Make it an address like {provider.base_url}, or remove it: external_{provider.id}_base_url in "
            f"api_keys.yaml, or INVOKEAI_EXTERNAL_{provider.id.upper()}_BASE_URL in the environment.",
            provider=provider.id,
        )

    url = url.strip()
    if " " in url or not url.isprintable():
        raise refuse("must hold no spaces or line ends")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse("cannot be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise refuse("must begin with https:// and name a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise refuse("must hold no user name, password, query or fragment")
    if not re.fullmatch(_HOST_AND_PORT, parts.netloc):
        raise refuse("must name its host in plain letters, digits, dots and dashes")
    if parts.scheme == "http" and not is_private_host(host):
        raise refuse("is plain http to a public host, where the key could be read on the way; use https")
    path = re.sub(_ENDPOINT, "", parts.path.rstrip("/")).rstrip("/") if parts.path.strip("/") else f"/{version}"
    return f"{parts.scheme}://{parts.netloc}{path}"


def parse_json(provider: ProviderInfo, response: HttpResponse, call: Call | None) -> object:
    """The JSON of a successful answer; raises InvalidResponseError."""
    try:
        return _loaded(response)
    except ValueError:
        raise invalid_answer(provider, f"is not whole JSON ({len(response.body):,} bytes)", response, call) from None


def encode_base64(data: bytes) -> str:
    """Base64 in the standard alphabet; made in steps, between which other threads run."""
    at_once = 3 << 16
    return "".join(
        base64.b64encode(data[start : start + at_once]).decode("ascii") for start in range(0, len(data), at_once)
    )


def decode_base64(text: str) -> bytes:
    """Read base64 in either alphabet, padded or not, on one line or many, with or without a ``data:`` prefix.

    It takes no more memory than the text and twice what it holds. Raises ValueError if it is none.
    """
    decoded, rest = [], b""
    start = text.index(",") + 1 if text[:5].lower() == "data:" and "," in text else 0
    end = _end_without_padding(text)
    for at in range(start, end, _DECODED_AT_ONCE):
        piece = text[at : min(at + _DECODED_AT_ONCE, end)]
        rest += piece.encode("ascii").translate(_STANDARD_ALPHABET, b" \t\r\n")
        whole = len(rest) // 4 * 4
        decoded.append(base64.b64decode(rest[:whole], validate=True))
        if len(decoded[-1]) != whole // 4 * 3:
            raise ValueError("padded before the end")
        rest = rest[whole:]
    decoded.append(base64.b64decode(rest + b"=" * (-len(rest) % 4), validate=True))
    return b"".join(decoded)


def _end_without_padding(text: str) -> int:
    end = len(text)
    while end and (kept := len(text[max(0, end - _DECODED_AT_ONCE) : end].rstrip("= \t\r\n"))) == 0:
        end = max(0, end - _DECODED_AT_ONCE)
    return max(0, end - _DECODED_AT_ONCE) + kept if end else 0


def answer_image(encoded: object, url: object, revised_prompt: object = None) -> AnswerImage:
    """A picture from the fields of an answer: bytes or base64 text, else an address; neither where none can be read.

    An address may hold the picture itself (``data:image/png;base64,…``).
    """
    data = encoded if isinstance(encoded, bytes) else b""
    inline = url if isinstance(url, str) and url[:5].lower() == "data:" else None
    for text in (encoded, inline):
        if isinstance(text, str) and not data:
            with suppress(ValueError):
                data = decode_base64(text)
    url = None if inline else url
    return AnswerImage(data or None, None if data else text_of(url), text_of(revised_prompt))


def text_of(value: object) -> str | None:
    """A text that is not empty and can be written as UTF-8 (JSON allows lone surrogates); None for all else."""
    if not isinstance(value, str) or not value:
        return None
    # A long text is copied only where it must be.
    return value if value.isascii() else value.encode(errors="replace").decode()


def one_line(words: object) -> str:
    """A provider's own words, fit to be shown: on one line, not too long, without a terminal's control characters."""
    shown = "".join(c if c.isprintable() else " " for c in words) if isinstance(words, str) else ""
    text = " ".join(shown.split())
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE].rstrip()}…"


def error_fields(response: HttpResponse) -> Mapping[str, Any]:
    """The ``error`` object of a failed answer, also from inside a list of one; empty if there is none."""
    return error_in({"error": _error_object(response)})


def _error_object(response: HttpResponse) -> object:
    """The ``error`` of a failed answer, whatever it is; None if there is none."""
    try:
        body = _loaded(response)
    except ValueError:
        return None
    return body.get("error") if isinstance(body, dict) else None


def error_in(body: object) -> Mapping[str, Any]:
    """The ``error`` object of a body, also where it is only text; empty if there is none."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _loaded(response: HttpResponse) -> object:
    """JSON; some gateways, and Google's own stream endpoint, wrap it in a list of one. Raises ValueError."""
    loaded = load(response.body) if response.document is None else response.document
    return loaded[0] if isinstance(loaded, list) and len(loaded) == 1 else loaded


def count(value: object) -> int | None:
    """A number of tokens; None for anything else, and for more than any call can have used."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None


def error_from(
    kind: type[ErrorKind],
    message: str,
    hint: str | None,
    response: HttpResponse,
    call: Call | None,
    request_id: str | None = None,
    *,
    may_be_billed: bool = False,
) -> ErrorKind:
    """An error that tells where it happened and what its answer says of trying again.

    Without a call it is the list of models that was asked for, here and in the functions below: that is never billed.

    The request id is OpenAI's header, which many gateways send too, unless another is given.
    """
    return kind(
        message,
        hint=hint,
        provider=call.model.provider if call else None,
        model=call.model.id if call else None,
        status=response.status,
        request_id=request_id or response.headers.get("x-request-id"),
        retry_after=asked_wait(response.headers, now=response.received_at),
        should_retry=should_retry_header(response.headers),
        may_be_billed=may_be_billed and call is not None,
    )


def invalid_answer(
    provider: ProviderInfo, what: str, response: HttpResponse, call: Call | None, request_id: str | None = None
) -> InvalidResponseError:
    """The error of an answer that claims success and has not in it what it must; quotes the error that it may hold."""
    message = f"The answer of {provider.name} {what}{said(one_line(error_fields(response).get('message')))}"
    hint = "Try again, or check the base URL if this happens every time."
    if call:
        hint = f"It may have been billed. {hint}"
    return error_from(InvalidResponseError, message, hint, response, call, request_id, may_be_billed=True)


def error_of_status(provider: ProviderInfo, words: str, response: HttpResponse, call: Call | None) -> ProviderError:
    """The error of an HTTP status that means the same with every provider.

    Args:
        provider: Whose answer it is.
        words: The provider's own words, on one line; empty if there were none.
        response: The answer.
        call: What was asked.
    """
    status, model = response.status, call.model if call else None
    kind: type[ProviderError] = RejectedRequestError
    hint: str | None = None
    if status == 402:
        kind, message = QuotaError, f"{provider.name} wants to be paid first (HTTP 402){said(words)}"
        hint = f"Add credit at {provider.billing_url}, or where the operator of your base URL says."
    elif status == 404 and model and model.lifecycle.status in ("deprecated", "retired"):
        # What replaced the model matters more than the provider's words, which only say that it is not there.
        kind, message, hint = ModelRetiredError, _retired(model), _successor(model)
    elif status == 404:
        message = f"{provider.name} does not serve {asked_for(call)}{said(words)}"
        hint = "See 'invokeai-external models' for the models that are known, or check the base URL."
        if not model:
            hint = "Check the base URL."
    elif status == 408:
        kind, message = TimedOutError, f"{provider.name} gave up waiting (HTTP 408){said(words)}"
        hint = "Try again later."
    elif status == 409 or status >= 500:
        kind, message = UnavailableError, f"{provider.name} is overloaded or out of order (HTTP {status}){said(words)}"
        hint = "Try again later."
    elif status == 413:
        message = f"The request is too large for {provider.name} (HTTP 413){said(words)}"
        hint = "Give fewer or smaller pictures."
    elif status >= 400:
        message = f"{provider.name} refused the request (HTTP {status}){said(words)}"
    else:
        kind = InvalidResponseError
        message = f"{provider.name} answered with HTTP {status}, which is no answer to such a request."
        hint = "Check the base URL."
    may_be_billed = _may_be_billed(response)
    if may_be_billed and call:
        hint = _LOOK_FIRST
    return error_from(kind, message, hint, response, call, may_be_billed=may_be_billed)


def _may_be_billed(response: HttpResponse) -> bool:
    """True for a failed answer that does not come from the provider itself, which may be at work on the request."""
    if response.status in _UNKNOWN_OUTCOME:
        return True
    return response.status >= 500 and not isinstance(_error_object(response), dict)


def broken_off(provider: ProviderInfo, words: str, head: HttpResponse, call: Call) -> ProviderError:
    """The error of a stream that ended without its picture, for the reason that the provider gives, if any."""
    kind = UnavailableError if words else InvalidResponseError
    message = f"{provider.name} broke off before the picture was finished{said(words)}"
    hint = "It may have been billed. Try again later."
    return error_from(kind, message, hint, head, call, may_be_billed=True)


def lacks_money(status: int, words: str) -> bool:
    """True if a failed answer says in words that the account has no money, which no waiting cures."""
    return 400 <= status < 500 and _NO_MONEY.search(words) is not None


def asked_for(call: Call | None) -> str:
    """What a call uses, as an error names it: its model, or the list of models where there is no call."""
    return call.model.id if call else "its list of models"


def said(words: str) -> str:
    """The end of a sentence that quotes a provider, or just its full stop."""
    if not words:
        return "."
    return f": {words}" if words.endswith((".", "!", "?", "…")) else f": {words}."


def _retired(model: ModelConfig) -> str:
    life = model.lifecycle
    if life.status == "retired":
        return f"{model.name} was retired{f' on {life.shutdown}' if life.shutdown else ''}."
    known = "set" if life.shutdown_confirmed else "reported"
    return f"{model.name} is no longer served{f'; its end was {known} for {life.shutdown}' if life.shutdown else ''}."


def _successor(model: ModelConfig) -> str | None:
    return f"Use {model.lifecycle.successor} instead." if model.lifecycle.successor else None
