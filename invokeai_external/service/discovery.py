"""Asks a provider that lists its models itself which it has and what each of them supports; this is free."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from ..errors import ProviderError
from ..providers.provider_config import ProviderConfig
from ..result import Notice
from ..settings.discovered import Discovered, read_discovered, save_discovered
from ..settings.settings import Settings, stated_base_url
from ..settings.user_file import UserCatalog
from .access import Access, public_access_to, with_valid_token
from .listing import free_request, sent
from .tokens import Tokens

if TYPE_CHECKING:
    from ..transport.client import Transport

__all__ = ["Discovery"]

_TIMEOUT_S = 60.0
"""There is one request for the list, and one for each model."""

_AT_ONCE = 8

_MOST_MODELS = 500

_MOST_PAGES = 100
"""Of how many models, the newest, the pages are asked for: each takes milliseconds of CPU time. The others are known
from the list, at an unknown price."""

_NEXT_TRY_S = 600.0
"""How long a provider that did not respond is not asked again by itself."""


class Discovery:
    """Asks providers for their models, and keeps what they say in a file of the root.

    Args:
        transport: Sends HTTP requests.
        tokens: Gives tokens in the place of keys.
        clock: Seconds that only go up.
        now: The time.
    """

    def __init__(
        self,
        transport: Transport,
        tokens: Tokens,
        clock: Callable[[], float],
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._transport, self._tokens, self._clock, self._now = transport, tokens, clock, now
        self._next_try: dict[str, float] = {}

    async def catalog(
        self, provider: ProviderConfig, settings: Settings, *, always: bool
    ) -> tuple[UserCatalog, tuple[Notice, ...]]:
        """What adds to the catalogue, with the models of a provider as it lists them today.

        Args:
            provider: The provider.
            settings: The settings.
            always: True to ask it even if it was asked within a day.

        Returns:
            The same additions if nothing was asked; and a notice if the provider did not respond, so that its models
            are those of an earlier day.

        Raises:
            RequestError: There is no base URL that can be used.
            ProviderError: It refused or did not respond, and its models are not known from an earlier day.
        """
        base_url, now = stated_base_url(provider, settings.credentials), self._now()
        known = read_discovered(settings.root).get(provider.id)
        if known and known.base_url != base_url:
            known = None
        is_waiting = self._clock() < self._next_try.get(provider.id, -math.inf)
        if known and not always and (is_waiting or not known.is_due(now)):
            return _with_models(settings.catalog, provider.id, known.models), ()
        self._next_try[provider.id] = self._clock() + _NEXT_TRY_S
        access = await self._tokens.completed(public_access_to(provider, settings))
        try:
            models = await _discovered_models(access, self._transport, now.date())
        except ProviderError as error:
            if known is None:
                raise
            outdated = Notice("models_outdated", f"{error.message} The models of {known.at.date()} are used.")
            return _with_models(settings.catalog, provider.id, known.models), (outdated,)
        save_discovered(settings.root, provider.id, Discovered(base_url, now, models))
        return _with_models(settings.catalog, provider.id, models), ()


def _with_models(catalog: UserCatalog, provider_id: str, models: Mapping[str, Mapping[str, Any]]) -> UserCatalog:
    found = {f"{provider_id}/{model_id}": fields for model_id, fields in models.items()}
    others = {name: each for name, each in catalog.discovered.items() if not name.startswith(f"{provider_id}/")}
    return replace(catalog, discovered={**others, **found})


async def _discovered_models(access: Access, transport: Transport, day: datetime.date) -> dict[str, dict[str, Any]]:
    """The raw fields of a provider's models by their ids, the newest first; the day is that of their prices.

    Raises:
        ProviderError: It refused, or did not respond within a minute.
    """
    adapter = access.adapter
    models: dict[str, Mapping[str, Any]] = {}
    at_once = anyio.CapacityLimiter(_AT_ONCE)

    async def listed(access: Access) -> Mapping[str, Mapping[str, Any]]:
        return adapter.parse_discovery(await sent(adapter.build_discovery(access.base_url), access, transport))

    async def ask(model_id: str, entry: Mapping[str, Any], *, has_page: bool) -> None:
        page = None
        if has_page:
            async with at_once:
                page = await sent(adapter.build_discovery(access.base_url, model_id), access, transport)
        if fields := adapter.discovered_model(entry, page):
            models[model_id] = fields

    with free_request(access, _TIMEOUT_S), anyio.fail_after(_TIMEOUT_S):
        found = dict(list((await with_valid_token(access, listed)).items())[:_MOST_MODELS])
        try:
            async with anyio.create_task_group() as group:
                for place, (model_id, entry) in enumerate(found.items()):
                    group.start_soon(partial(ask, model_id, entry, has_page=place < _MOST_PAGES))
        except BaseExceptionGroup as failures:
            # One is enough: they all have the same connection.
            raise failures.exceptions[0] from None
    return {name: {**models[name], **_dated(models[name], day)} for name in found if name in models}


def _dated(fields: Mapping[str, Any], day: datetime.date) -> dict[str, str]:
    return {"prices_as_of": str(day)} if fields.get("prices") else {}
