"""Asks a provider for its list of models, page by page; this is free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio

from ..errors import NetworkError, NotConfiguredError, ProviderError, TimedOutError
from ..transport.messages import HttpRequest, HttpResponse
from .access import Access, shown, with_valid_token

if TYPE_CHECKING:
    from ..transport.client import Transport

__all__ = ["free_request", "listed_models", "sent", "verify_key"]

_TIMEOUT_S = 15.0
"""A list of models is there at once, and who tests a connection does not want to wait as long as for an image."""

_MOST_PAGES = 20
"""Google lists up to 1,000 models on a page, and gateways as few as 50."""


async def listed_models(access: Access, transport: Transport) -> frozenset[str]:
    """The ids of all models that a provider lists.

    Raises:
        NotConfiguredError: It has no list of models.
        ProviderError: It refused, or did not respond within 15 seconds.
    """
    if not access.adapter.lists_models:
        raise NotConfiguredError(
            f"{access.provider.name} has no list of models that could be asked for.",
            remedy="To test the key, generate an image with its cheapest model.",
            provider=access.provider.id,
        )
    adapter = access.adapter
    listed: frozenset[str] = frozenset()

    async def page_of(page: str | None, access: Access) -> tuple[frozenset[str], str | None]:
        response = await sent(adapter.build_listing(access.base_url, page), access, transport)
        return adapter.parse_listing(response), adapter.next_page(response)

    page: str | None = None
    with free_request(access, _TIMEOUT_S), anyio.fail_after(_TIMEOUT_S):
        for _ in range(_MOST_PAGES):
            found, following = await with_valid_token(access, partial(page_of, page))
            listed |= found
            page, last = following, page
            if page is None or page == last:
                break
    return listed


async def verify_key(access: Access, transport: Transport) -> None:
    """Ask whether a key is valid, if the list of models does not show it; raises like ``listed_models``."""
    adapter = access.adapter
    if (request := adapter.build_key_test(access.base_url)) is None:
        return

    async def ask(access: Access) -> None:
        adapter.parse_key_test(await sent(request, access, transport))

    with free_request(access, _TIMEOUT_S), anyio.fail_after(_TIMEOUT_S):
        await with_valid_token(access, ask)


async def sent(request: HttpRequest, access: Access, transport: Transport) -> HttpResponse:
    """The response to a request of an adapter, sent with the provider's headers, and the key if there is one."""
    adapter = access.adapter
    return await transport.send(adapter.with_headers(request), adapter.auth_headers(access.api_key))


@contextmanager
def free_request(access: Access, timeout_s: float) -> Iterator[None]:
    """Give the errors of a request that is never billed their texts."""
    provider = access.provider
    try:
        yield
    except (NetworkError, TimedOutError, TimeoutError) as error:
        if isinstance(error, NetworkError) and error.never_sent:
            raise error.replace(provider=provider.id) from None
        # What the error of a lost call says of billing is not true of a list.
        what = f"{provider.name} did not respond within {timeout_s:g} s."
        message = error.message if isinstance(error, ProviderError) else what
        raise NetworkError(message, remedy="Check the network and the base URL.", provider=provider.id) from None
    except ProviderError as error:
        if error.may_be_billed:
            # So does that of a response that cannot be read.
            error = error.replace(may_be_billed=False, remedy="Check the base URL.")
        raise shown(error.replace(provider=provider.id), access) from None
