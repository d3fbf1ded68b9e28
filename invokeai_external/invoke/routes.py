"""The routes under ``/api/v1/external``: status, the catalogue with its prices, a connection test, signed originals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse
from invokeai.app.api.auth_dependencies import AdminUserOrDefault, CurrentUserOrDefault

from ..errors import ExternalError, UnknownProviderError
from .host.gallery import assert_may_read
from .runtime import Runtime

__all__ = ["router_of"]


def router_of(runtime: Runtime) -> APIRouter:
    """The plugin's routes. None returns a key. Every user can read them, and users who can set keys can test them."""
    router = APIRouter(prefix="/v1/external", tags=["external"])

    def status(_: CurrentUserOrDefault) -> dict[str, Any]:
        with _settings_errors():
            usable = runtime.providers()
            return {
                "sandbox": runtime.sandbox(),
                "providers": [{"provider": name, "configured": name in usable} for name in runtime.providers_on()],
            }

    def catalogue(_: CurrentUserOrDefault) -> list[dict[str, Any]]:
        with _settings_errors():
            return [model.model_dump(mode="json") for model in runtime.registry().models()]

    def test(provider: str, _: AdminUserOrDefault) -> dict[str, Any]:
        """Request the provider's list of models, which costs nothing."""
        try:
            check = runtime.check_connection(provider)
        except UnknownProviderError as error:
            raise HTTPException(422, str(error)) from None
        except ExternalError as error:
            return {"provider": provider, "ok": False, "message": error.message, "hint": error.hint}
        return {"provider": provider, "ok": True, "message": check.message, "hint": None}

    def original(image_name: str, user: CurrentUserOrDefault) -> FileResponse:
        """The file of a signed image as received, for users who can see the image."""
        assert_may_read(image_name, user)
        with _settings_errors():
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
    return router


@contextmanager
def _settings_errors() -> Iterator[None]:
    """Turn an error in the settings into a response with its message."""
    try:
        yield
    except ExternalError as error:
        raise HTTPException(503, str(error)) from None
