"""Creates the sandbox's ASGI application."""

from __future__ import annotations

import datetime
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import clock
from ..providers.schema import ModelConfig
from .call_log import Outcome, hide_key_in_query
from .errors import HtmlPage, Refusal, gemini_error, openai_error
from .fault_routes import router as admin_router
from .gemini import router as gemini_router
from .models import ServedModels
from .openai import router as openai_router
from .state import SandboxState

__all__ = ["create_app"]

_HEADER = b"x-invokeai-external-sandbox"
"""Marks a response as the sandbox's own, which cost nothing."""

_VERSIONS = {"openai": "v1", "gemini": "v1beta"}
_UNVERSIONED = re.compile(r"/(openai|gemini)(/(?:images|models)(?:/.*)?)", re.DOTALL)


def create_app(
    *,
    admin: bool = True,
    serve_retired: bool = False,
    today: Callable[[], datetime.date] | None = None,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    others: Mapping[str, Sequence[ModelConfig]] | None = None,
) -> FastAPI:
    """Create a sandbox with its own faults and its own log of requests.

    Args:
        admin: Whether to include the routes under ``/sandbox``, which queue faults and show the received requests.
        serve_retired: Whether retired models still work, as they may behind a proxy; otherwise they are not found.
        today: Returns the day that decides which models are retired; by default, the current day in UTC.
        sleep: Waits for a number of seconds, for the faults that delay a response.
        others: Models to serve beside the built-in ones, by the wire format in which they are requested.
    """
    app = FastAPI(title="invokeai_external sandbox", docs_url=None, redoc_url=None, openapi_url=None)
    models = ServedModels(others or {}, today or clock.utc_today, serve_retired=serve_retired)
    app.state.sandbox = SandboxState(models=models, sleep=sleep)
    app.include_router(openai_router)
    app.include_router(gemini_router)
    if admin:
        app.include_router(admin_router)
    app.add_exception_handler(Refusal, _send_refusal)
    app.add_exception_handler(HTTPException, _send_route_error)
    app.add_middleware(_MarkResponses)
    return app


class _MarkResponses:
    """Marks every response, so that its cost does not pass for money spent, and logs its status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outcome, status = Outcome(), 0
        scope = _with_version(scope)
        outcome.attach(scope)

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_HEADER, b"1")]
            elif not message.get("more_body"):
                outcome.note(status)
            await send(message)

        await self._app(scope, receive, send_marked)


def _with_version(scope: Scope) -> Scope:
    """The same request with an API version, so that a base URL may also end in ``/gemini`` or ``/openai``."""
    found = _UNVERSIONED.fullmatch(scope.get("path", ""))
    return {**scope, "path": f"/{found[1]}/{_VERSIONS[found[1]]}{found[2]}"} if found else scope


async def _send_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    if isinstance(error, HtmlPage):
        return HTMLResponse(error.body, status_code=error.status)
    return JSONResponse(error.body, status_code=error.status, headers=error.headers)


async def _send_route_error(request: Request, error: Exception) -> Response:
    """Each service's error for an unknown path or method."""
    assert isinstance(error, HTTPException)
    hide_key_in_query(request)
    method, path, headers = request.method, request.url.path, error.headers
    if path.startswith("/openai/"):
        path = path.removeprefix("/openai")
        if error.status_code == 405:
            message = f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)"
            return await _send_refusal(
                request, openai_error(405, message, code="method_not_supported", headers=headers)
            )
        return await _send_refusal(request, openai_error(404, f"Invalid URL ({method} {path})", headers=headers))
    if path.startswith("/gemini/"):
        message = f"The requested URL {path.removeprefix('/gemini')} was not found on this server for {method}."
        return await _send_refusal(request, gemini_error(404, message, headers=headers))
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=headers)
