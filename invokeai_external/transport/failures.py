"""Turns network failures into errors that never quote a header or a body."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx

from ..errors import InvalidResponseError, NetworkError, ProviderError, Remedy, TimedOutError

__all__ = [
    "as_failures_of_httpx",
    "is_about_tls",
    "lost",
    "not_connected",
    "not_connected_in_time",
    "not_through_proxy",
    "timed_out",
    "too_large",
    "unreadable",
]

_Kind = TypeVar("_Kind", bound=ProviderError)

_NEVER_SENT = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
"""What fails before a request is sent, if a transport does not say so itself."""

_PARSER = "h11."
"""The package that reads HTTP for httpx."""

_ENDS_EARLY = "peer "
"""How its sentences begin about a response that ends too early."""

_WITHOUT_TLS = ("wrong_version_number", "record_layer_failure", "packet_length_too_long", "http_request")
"""What OpenSSL calls a response without TLS, in its different versions."""

_MAY_BE_BILLED = "It may still have been billed: check your usage before you send it again."


def not_connected(error: httpx.HTTPError, host: str) -> NetworkError:
    """No connection was made, so nothing was sent."""
    return NetworkError(
        f"Cannot connect to {host} ({_reason_before_sending(error)}).",
        remedy="Check the network and the base URL; nothing was sent.",
        never_sent=True,
    )


def not_connected_in_time(host: str, seconds: float) -> TimedOutError:
    """The connection was begun and not completed (a proxy or TLS that never responds), so nothing was sent."""
    return TimedOutError(
        f"The connection to {host} was not complete within {seconds:g} s.",
        remedy="Check the network, your proxy and the base URL; nothing was sent.",
        never_sent=True,
    )


def not_through_proxy(error: httpx.HTTPError, host: str, proxy: str, source: str) -> NetworkError:
    """The proxy did not connect to a host, or cannot be reached itself, so nothing was sent.

    Args:
        error: What happened.
        host: Where the request was meant to go.
        proxy: The host and port of the proxy, without its password.
        source: Where the proxy was set.
    """
    if isinstance(error, httpx.ProxyError):
        status = re.match(r"[45]\d\d\b", str(error))
        what = f"The proxy {proxy} did not connect to {host}{f' (HTTP {status[0]})' if status else ''}."
    else:
        what = f"Cannot connect to the proxy {proxy} ({_reason_before_sending(error)})."
    return NetworkError(what, remedy=f"Check {source}; nothing was sent.", never_sent=True)


def is_about_tls(error: httpx.HTTPError) -> bool:
    """True if a connection was made and has no valid certificate or no encryption."""
    return any(word in str(error).lower() for word in ("certificate", "ssl", "tls"))


def lost(error: httpx.HTTPError, host: str, timeout_s: float, response: httpx.Response | None) -> ProviderError:
    """The request was sent, and its response is missing or incomplete."""
    if isinstance(error, httpx.TimeoutException):
        return timed_out(f"{host} did not respond within {timeout_s:g} s.", response)
    if isinstance(error, httpx.DecodingError):
        return _after_sending(InvalidResponseError, f"The response of {host} cannot be decompressed.", response)
    if _is_not_http(error):
        return _after_sending(InvalidResponseError, f"The response of {host} is not valid HTTP.", response)
    return _after_sending(NetworkError, f"The connection to {host} was lost ({_reason(error)}).", response)


@contextmanager
def as_failures_of_httpx() -> Iterator[None]:
    """Raise what the transport of a client that was given may raise beside httpx's own errors as one of those."""
    try:
        yield
    except _NEVER_SENT as error:
        raise httpx.ConnectError(str(error)) from None
    except (OSError, RuntimeError, UnicodeDecodeError):
        raise httpx.ReadError("") from None


def timed_out(message: str, response: httpx.Response | None) -> TimedOutError:
    return _after_sending(TimedOutError, message, response)


def too_large(limit: int) -> InvalidResponseError:
    return InvalidResponseError(
        f"The response is larger than the limit of {limit:,} bytes.",
        remedy=Remedy(
            "It may have been billed. If this size is right, raise max_response_bytes in invokeai_external.yaml.",
            action="change_setting",
            setting="max_response_bytes",
        ),
        may_be_billed=True,
    )


def unreadable(what: str) -> InvalidResponseError:
    """The response ``what`` ("has more than ..."), which no image model's does."""
    return InvalidResponseError(
        f"The response {what}, so it does not come from an image model.",
        remedy="It may have been billed. Check the base URL.",
        may_be_billed=True,
    )


def _after_sending(kind: type[_Kind], message: str, response: httpx.Response | None) -> _Kind:
    return kind(
        message,
        remedy=_MAY_BE_BILLED,
        status=response.status_code if response else None,
        request_id=response.headers.get("x-request-id") if response else None,
        may_be_billed=True,
    )


def _is_not_http(error: httpx.HTTPError) -> bool:
    """True for a response that breaks the rules of HTTP, and not only ends too early."""
    is_of_parser = any(type(cause).__module__.startswith(_PARSER) for cause in _causes(error))
    return isinstance(error, httpx.RemoteProtocolError) and is_of_parser and not str(error).startswith(_ENDS_EARLY)


def _reason(error: httpx.HTTPError) -> str:
    """Why a connection was lost; httpx's own text may quote what was sent."""
    return "too many files are open" if _lacks_files(error) else "closed before the response was complete"


def _reason_before_sending(error: httpx.HTTPError) -> str:
    """Why there is no connection."""
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    if isinstance(error, httpx.ProxyError):
        return "the proxy refused it"
    if _lacks_files(error):
        return "too many files are open"
    if _is_not_http(error):
        return "its response is not valid HTTP"
    causes, text = list(_causes(error)), str(error).lower()
    if "certificate" in text:
        return "its certificate is not trusted"
    if any(sign in text for sign in _WITHOUT_TLS):
        return "the server does not use HTTPS"
    if "ssl" in text or any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "the TLS handshake failed"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "unknown host"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "connection refused"
    numbers = (cause.errno for cause in causes if isinstance(cause, OSError))
    return next((os.strerror(number).lower() for number in numbers if number), "the connection was closed")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it comes from; of a host with several IP numbers, a group of them."""
    while error:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                yield from _causes(one)
        error = error.__cause__ or error.__context__


def _lacks_files(error: BaseException) -> bool:
    """True if the system lets this process, or all of them together, open no more files, such as connections."""
    return any(isinstance(one, OSError) and one.errno in (errno.EMFILE, errno.ENFILE) for one in _causes(error))
