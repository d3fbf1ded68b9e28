"""The routes of the page with which administrators change settings, without a file and without a restart."""

from __future__ import annotations

from typing import Any, Literal, Self

from fastapi import APIRouter
from invokeai.app.api.auth_dependencies import AdminUserOrDefault
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr, model_validator

from ...settings.user_file_edit import set_default, set_setting
from ..http_errors import external_errors
from ..runtime import Runtime
from .changes import CHANGES
from .model_defaults import checked_default, models_with_options

__all__ = ["settings_router"]


class NewSetting(BaseModel):
    """A setting to write.

    Attributes:
        name: Its name.
        value: Its value, which the settings check.
    """

    model_config = ConfigDict(extra="forbid")

    name: Literal["previews", "look_ahead", "concurrency", "strip_prompt_weights"]
    value: StrictBool | StrictInt

    @model_validator(mode="after")
    def _only_a_switch_is_on_or_off(self) -> Self:
        # The settings would read true as 1.
        is_switch = self.name in ("look_ahead", "strip_prompt_weights")
        if isinstance(self.value, bool) != is_switch:
            raise ValueError(f"{self.name} must be {'true or false' if is_switch else 'a number'}")
        return self


class NewDefault(BaseModel):
    """A default to write.

    Attributes:
        model: The model as ``provider/model-id``.
        option: The option.
        value: Its value; None removes the default.
    """

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=300)
    option: str = Field(max_length=100)
    value: StrictStr | StrictInt | FiniteFloat | None


def settings_router(runtime: Runtime) -> APIRouter:
    """The routes below ``/api/v1/external`` for settings, all of them for administrators."""
    router = APIRouter()

    def shown() -> dict[str, Any]:
        limits, usable = runtime.settings().limits, runtime.providers()
        return {
            "previews": limits.previews,
            "look_ahead": limits.look_ahead,
            "concurrency": limits.concurrency,
            "strip_prompt_weights": limits.strip_prompt_weights,
            "models": models_with_options(model for model in runtime.registry().models() if model.provider in usable),
        }

    def settings(_: AdminUserOrDefault) -> dict[str, Any]:
        with external_errors():
            return shown()

    def change_setting(new: NewSetting, _: AdminUserOrDefault) -> dict[str, Any]:
        with external_errors(422):
            set_setting(runtime.settings().root, new.name, new.value)
        with external_errors():
            return shown()

    def change_default(new: NewDefault, _: AdminUserOrDefault) -> dict[str, Any]:
        with external_errors(422):
            value = checked_default(runtime.registry(), new.model, new.option, new.value)
            set_default(runtime.settings().root, new.model, new.option, value)
        with external_errors():
            return shown()

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
    add(
        "/settings/defaults",
        change_default,
        methods=["POST"],
        dependencies=CHANGES,
        operation_id="set_external_default",
        summary="Set or remove the default of a model's option",
    )
    return router
