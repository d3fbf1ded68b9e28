"""The routes under ``/api/v1/external``: which providers can be used, and the catalogue with its prices."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from invokeai.app.api.auth_dependencies import CurrentUserOrDefault

from ..registry import PROVIDER_IDS
from .runtime import Runtime

__all__ = ["router_of"]


def router_of(runtime: Runtime) -> APIRouter:
    """The routes of one pack; any user of Invoke may read them, and none of them holds a key."""
    router = APIRouter(prefix="/v1/external", tags=["external"])

    def status(_: CurrentUserOrDefault) -> dict[str, Any]:
        usable = runtime.providers()
        return {
            "sandbox": runtime.sandbox(),
            "providers": [{"provider": name, "configured": name in usable} for name in PROVIDER_IDS],
        }

    def catalogue(_: CurrentUserOrDefault) -> list[dict[str, Any]]:
        return [model.model_dump(mode="json") for model in runtime.registry().models()]

    router.add_api_route("/status", status, operation_id="get_external_status", summary="Which providers can be used")
    router.add_api_route("/models", catalogue, operation_id="list_external_models", summary="The catalogue with prices")
    return router
