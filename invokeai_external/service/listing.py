"""Asks a provider for its list of models, page by page; this is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from ..errors import NetworkError, ProviderError, TimedOutError
from .access import Access, shown

if TYPE_CHECKING:
    from ..transport.client import Transport

__all__ = ["listed_models"]

_TIMEOUT_S = 15.0
"""A list of models is there at once, and who tests a connection does not want to wait as long as for an image."""

_MOST_PAGES = 20
"""Google lists up to 1,000 models on a page, and gateways as few as 50."""


async def listed_models(access: Access, transport: Transport) -> frozenset[str]:
    """The ids of all models that a provider lists.

    Raises:
        ProviderError: The provider refused, or did not respond within 15 seconds.
    """
    adapter, provider = access.adapter, access.provider
    listed: frozenset[str] = frozenset()
    page: str | None = None
    try:
        with anyio.fail_after(_TIMEOUT_S):
            for _ in range(_MOST_PAGES):
                request = adapter.build_listing(access.base_url, page)
                response = await transport.send(request, adapter.auth_headers(access.api_key))
                listed |= adapter.parse_listing(response)
                page, last = adapter.next_page(response), page
                if page is None or page == last:
                    break
    except (NetworkError, TimedOutError, TimeoutError) as error:
        if isinstance(error, NetworkError) and error.never_sent:
            raise error.replace(provider=provider.id) from None
        # What the error of a lost call says of billing is not true of a list.
        what = f"{provider.name} did not respond within {_TIMEOUT_S:g} s."
        message = error.message if isinstance(error, ProviderError) else what
        raise NetworkError(message, remedy="Check the network and the base URL.", provider=provider.id) from None
    except ProviderError as error:
        raise shown(error.replace(provider=provider.id), access) from None
    return listed
