"""The routes of the page with which administrators change settings, without a file and without a restart."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from invokeai.app.api.auth_dependencies import AdminUserOrDefault
from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt

from ...settings.settings import Settings
from ...settings.user_file_edit import set_setting
from ..http_errors import external_errors
from ..runtime import Runtime
from .changes import CHANGES

__all__ = ["settings_router"]


class NewSetting(BaseModel):
    """A setting to write.

    Attributes:
        name: Its name.
        value: Its value, which the settings check.
    """

    model_config = ConfigDict(extra="forbid")

    name: Literal["previews", "look_ahead", "concurrency"]
    value: StrictBool | StrictInt


def settings_router(runtime: Runtime) -> APIRouter:
    """The routes below ``/api/v1/external`` for settings, all of them for administrators."""
    router = APIRouter()

    def settings(_: AdminUserOrDefault) -> dict[str, Any]:
        with external_errors():
            return _shown(runtime.settings())

    def change_setting(new: NewSetting, _: AdminUserOrDefault) -> dict[str, Any]:
        with external_errors(422):
            set_setting(runtime.settings().root, new.name, new.value)
        with external_errors():
            return _shown(runtime.settings())

    add = router.add_api_route
    add("/settings", settings, operation_id="get_external_settings", summary="The settings, for administrators")
    add(
        "/settings",
        change_setting,
        methods=["POST"],
        dependencies=CHANGES,
        operation_id="set_external_setting",
        summary="Change a setting",
    )
    return router


def _shown(settings: Settings) -> dict[str, Any]:
    """The settings that the page can change, as JSON."""
    limits = settings.limits
    return {"previews": limits.previews, "look_ahead": limits.look_ahead, "concurrency": limits.concurrency}
