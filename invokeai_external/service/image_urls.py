"""Downloads images that a response names by URL: within limits, and with the key only to its own origin."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import anyio
import anyio.to_thread

from ..adapters.base import Answer
from ..adapters.base_url import is_public_host
from ..errors import InvalidResponseError, NetworkError, ProviderError, ServiceStateError, SettingsError, TimedOutError
from ..planning.plan import MAX_IMAGES
from ..settings.keys import origin
from ..transport.messages import HttpResponse
from ..transport.retry_policy import retry_after_from_headers
from .access import Access

if TYPE_CHECKING:
    from ..transport.client import Transport
    from ..transport.response_body import Allowance

__all__ = ["IF_DAMAGED", "Content", "ImageFetcher"]

IF_DAMAGED = "It may have been billed. If it happens again, check the base URL: a gateway may damage images."
"""What to do about an image that arrived and cannot be used."""

Content = bytes | ProviderError | None
"""The bytes of an image, the error that lost it, or None while it is being fetched."""

_ASK_S = 30.0
"""How long the images are asked for again: some servers answer 404 for a while."""

_DOWNLOAD_S = 120.0
"""How long all of them together may take to arrive, once they were asked for in time."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 4.0

_LONGEST_URL = 1 << 16
"""In characters; httpx accepts no longer one, and megabytes of ``../`` take a second to join."""

_NOT_THERE_YET = frozenset({401, 403, 404, 408, 409, 425, 429})
"""What a server of finished images may answer, besides 5xx, while an image is not there yet."""


class ImageFetcher:
    """Fetches images.

    Args:
        transport: Sends HTTP requests.
        clock: Seconds that only go up.
        sleep: Waits for so many seconds.
        type_of: The MIME type of an image file, None for one that is not whole; it may take a while.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        type_of: Callable[[bytes], str | None],
    ) -> None:
        self._transport, self._clock, self._sleep, self._type_of = transport, clock, sleep, type_of

    async def fetch(self, access: Access, answer: Answer, contents: list[Content]) -> None:
        """Fetch the images that are given by URL, in parallel, each into its place in ``contents``.

        At most as many as one call can ask for are fetched. A failure leaves its error in its place.
        """
        ends_at = self._clock() + _ASK_S
        allowance = self._transport.allowance()
        urls: dict[int, str] = {}
        for place, image in enumerate(answer.images):
            if image.url and len(urls) < MAX_IMAGES:
                urls[place] = image.url
            elif not image.is_readable:
                contents[place] = InvalidResponseError("An image of the response cannot be read.", remedy=IF_DAMAGED)

        async def fetch_one(place: int, url: str) -> None:
            try:
                contents[place] = await self._fetched(access, url, ends_at, allowance)
            except ProviderError as error:
                contents[place] = error

        with anyio.move_on_after(_DOWNLOAD_S):
            async with anyio.create_task_group() as group:
                for place, url in urls.items():
                    group.start_soon(fetch_one, place, url)
        for place in urls:
            if contents[place] is None:
                contents[place] = _not_fetched(f"It did not arrive within {_DOWNLOAD_S:g} s.")

    async def _fetched(self, access: Access, named: str, ends_at: float, allowance: Allowance) -> bytes:
        """An image from its URL; asked for again after any failure that may pass, since that costs nothing.

        The key goes only to the provider's own origin, and only after that has asked for it; redirects are not
        followed.
        """
        url = _absolute(named, access.base_url)
        if url is None or not _may_fetch(url, access.base_url):
            raise InvalidResponseError(
                "The response names an image at a URL that is neither https on a public host nor the provider's own.",
                remedy="It was billed but not fetched. Check the base URL.",
            )
        headers: Mapping[str, str] = {}
        for tries in itertools.count(1):
            wait_s = min(_FIRST_WAIT_S * 2.0 ** (tries - 1), _LONGEST_WAIT_S)
            try:
                response = await self._transport.fetch(url, headers, allowance)
                if response.status in (401, 403) and not headers and origin(url) == origin(access.base_url):
                    headers = access.adapter.auth_headers(access.api_key)
                    response = await self._transport.fetch(url, headers, allowance)
            except (NetworkError, TimedOutError) as error:
                failure = error.message
            except (SettingsError, ServiceStateError) as error:
                # The image may be on another route than its provider, or the client was closed too soon.
                raise _not_fetched(error.message) from None
            else:
                if response.status == 200 and await self._is_whole(response):
                    return response.body
                allowance.give_back(len(response.body))
                failure = "The transfer was cut short." if response.is_cut_short else f"HTTP {response.status}."
                if response.status < 500 and response.status not in _NOT_THERE_YET and not response.is_cut_short:
                    raise _not_fetched(failure)
                wait_s = retry_after_from_headers(response.headers, now=response.received_at) or wait_s
            if self._clock() + wait_s >= ends_at:
                raise _not_fetched(failure)
            await self._sleep(wait_s)
        raise AssertionError  # the count never ends

    async def _is_whole(self, response: HttpResponse) -> bool:
        """True if a fetched image is complete, however its transfer ended. A cancellation does not lose it."""
        if not response.is_cut_short:
            return True
        with anyio.CancelScope(shield=True):
            mime_type = await anyio.to_thread.run_sync(self._type_of, response.body)
        return mime_type is not None


def _not_fetched(why: str) -> NetworkError:
    return NetworkError(f"The finished image could not be fetched: {why}", remedy="It was billed.")


def _absolute(url: str, base_url: str) -> str | None:
    """An absolute URL; one without a host is at the provider's own origin. None if it is not valid, or too long."""
    if len(url) > _LONGEST_URL:
        return None
    own = urlsplit(base_url)
    try:
        return urljoin(f"{own.scheme}://{own.netloc}/", url)
    except ValueError:
        return None


def _may_fetch(url: str, base_url: str) -> bool:
    """True for https to a public host, and for the scheme, host and port of the provider's base URL.

    A server must not have this machine request something from itself or from its own network. Nor is a password in the
    URL used.
    """
    try:
        there, here = origin(url), origin(base_url)
        has_password = "@" in urlsplit(url).netloc
    except ValueError:
        return False
    scheme, host, _ = there
    if not host or has_password:
        return False
    return there == here or (scheme == "https" and is_public_host(host))
