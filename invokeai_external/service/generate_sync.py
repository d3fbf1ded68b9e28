"""Generates images without async code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio
from anyio.from_thread import start_blocking_portal

from ..progress import Progress
from ..request import GenerationRequest
from ..result import GenerationResult
from ..settings.settings import Settings, load_settings
from .refusals import Purse
from .service import Service

__all__ = ["generate_sync"]


def generate_sync(
    request: GenerationRequest,
    *,
    settings: Settings | None = None,
    sandbox: bool = False,
    on_progress: Callable[[Progress], None] = lambda _: None,
    purse: Purse | None = None,
) -> GenerationResult:
    """Make the images of a request and wait for them, in code that is not async.

    The event loop runs in a separate thread, so this also works while another one is running, as in Jupyter. An
    interrupt (Ctrl-C) cancels the request.

    Args:
        request: What to make.
        settings: Keys, base URLs and limits; those that ``load_settings()`` reads if None.
        sandbox: True to use the sandbox in process: no key, no network, no cost.
        on_progress: Called at every step, in the thread of the event loop.
        purse: Who pays, and what the request may cost; by default nobody in particular, and what the limits allow.

    Returns:
        The result of ``Service.generate``.

    Raises:
        ExternalError: See ``Service.generate``.
    """
    found = settings or load_settings()
    with start_blocking_portal() as portal:
        outcome = portal.call(partial(_generate, request, found, sandbox, on_progress, purse))
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def _generate(
    request: GenerationRequest,
    settings: Settings,
    sandbox: bool,
    on_progress: Callable[[Progress], None],
    purse: Purse | None,
) -> GenerationResult | BaseException:
    try:
        async with Service(settings, sandbox=sandbox) as service:
            result = await service.generate(request, on_progress, purse=purse)
            return replace(result, notices=(*result.notices, *await service.settled()))
    except anyio.get_cancelled_exc_class():
        raise
    # Whatever on_progress raises reaches its caller, and does not end the event loop.
    except BaseException as error:
        return error
