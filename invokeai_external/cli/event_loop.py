"""Runs what is asynchronous for a command, so that Ctrl-C ends it at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["run"]

_Result = TypeVar("_Result")

_AWAKE_S = 0.5


def run(function: Callable[..., Awaitable[_Result]], *arguments: object) -> _Result:
    """As ``anyio.run``.

    A signal that arrives just before the event loop begins to wait does not wake it, and is seen only when something
    else does. So it wakes twice a second.
    """

    async def awake() -> _Result:
        _keep_awake(asyncio.get_running_loop())
        return await function(*arguments)

    return anyio.run(awake)


def _keep_awake(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_later(_AWAKE_S, _keep_awake, loop)
