"""The routes under ``/api/v1/external``: status, the catalogue with its prices, a connection test, signed originals.

Those of the page with the costs are in ``spending_page/routes.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse
from invokeai.app.api.auth_dependencies import AdminUserOrDefault, CurrentUserOrDefault

from ..errors import UnknownProviderError
from .host.gallery import assert_may_read
from .host.users import viewer_of
from .http_errors import external_errors
from .key_checks import KeyCheck, KeyChecks
from .runtime import Runtime
from .spending_page.routes import spending_router
from .spending_page.settings_routes import settings_router

__all__ = ["router_of"]


def router_of(runtime: Runtime, checks: KeyChecks) -> APIRouter:
    """The plugin's routes. None returns a key. Every user can read them, and users who can set keys can test them."""
    router = APIRouter(prefix="/v1/external", tags=["external"])

    def status(user: CurrentUserOrDefault) -> dict[str, Any]:
        with external_errors():
            usable, known = runtime.providers(), runtime.settings().providers
            is_admin = viewer_of(user).is_admin
            return {
                "sandbox": runtime.sandbox(),
                "providers": [
                    {
                        "provider": name,
                        "configured": name in usable,
                        "name": known[name].name,
                        "billing_url": known[name].billing_url,
                        "key_url": known[name].key_url,
                        "check": _shown(checks.last(name), is_admin=is_admin),
                    }
                    for name in runtime.providers_on()
                ],
                # They may name workflows of other users.
                "ending": [notice.message for notice in runtime.ending_models()] if is_admin else [],
            }

    def catalogue(_: CurrentUserOrDefault) -> list[dict[str, Any]]:
        with external_errors():
            return [model.model_dump(mode="json") for model in runtime.registry().models()]

    def test(provider: str, _: AdminUserOrDefault) -> dict[str, Any]:
        """Request the provider's list of models, which costs nothing."""
        try:
            check = checks.run(provider)
        except UnknownProviderError as error:
            raise HTTPException(422, str(error)) from None
        return {"provider": provider, "ok": bool(check.accepted), "message": check.message, "hint": check.hint}

    def original(image_name: str, user: CurrentUserOrDefault) -> FileResponse:
        """The file of a signed image as received, for users who can see the image."""
        assert_may_read(image_name, user)
        with external_errors():
            found = runtime.originals().find(image_name)
        if found is None:
            raise HTTPException(404, f"No original of {image_name} is stored.")
        name = f"{image_name.rpartition('.')[0]}{found.path.suffix}"
        headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
        return FileResponse(found.path, media_type=found.mime_type, filename=name, headers=headers)

    router.add_api_route("/status", status, operation_id="get_external_status", summary="Which providers have a key")
    router.add_api_route(
        "/models", catalogue, operation_id="list_external_models", summary="The catalogue with its prices"
    )
    router.add_api_route(
        "/test/{provider}",
        test,
        methods=["POST"],
        operation_id="test_external_connection",
        summary="Whether a provider responds and accepts the key",
    )
    router.add_api_route(
        "/originals/{image_name}",
        original,
        operation_id="get_external_original",
        summary="A signed image as received, with its Content Credentials",
        response_class=FileResponse,
    )
    router.include_router(spending_router(runtime))
    router.include_router(settings_router(runtime))
    return router


def _shown(check: KeyCheck | None, *, is_admin: bool) -> dict[str, Any] | None:
    """The last check of a key; only administrators, who can set keys, see what the provider said."""
    if check is None:
        return None
    at = datetime.fromtimestamp(check.at, UTC).isoformat(timespec="seconds")
    text = {"message": check.message, "hint": check.hint} if is_admin else {"message": None, "hint": None}
    return {"ok": check.accepted, "at": at, **text}
