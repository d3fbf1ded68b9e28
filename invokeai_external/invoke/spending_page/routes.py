"""The routes of the page: its files, what it shows, and what it changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import RedirectResponse, Response
from invokeai.app.api.auth_dependencies import AdminUserOrDefault, CurrentUserOrDefault
from pydantic import BaseModel, ConfigDict, Field

from ...pricing.estimate import price_range
from ...spending.recorded_call import RecordedCall
from ..host.gallery import image_of_request
from ..host.users import user_names, viewer_of
from ..http_errors import external_errors
from ..runtime import Runtime
from .changes import CHANGES
from .files import HEADERS, file_of
from .overview import runs
from .page_data import Only, PageData
from .price_list import prices_of
from .viewer import Viewer

__all__ = ["page_router", "spending_router"]

_SAVED_WITHIN_S = 3600
"""How long after a call its image may have been saved: a queue may be paused in between."""


class Settled(BaseModel):
    """What the user says about calls that may have been charged.

    Attributes:
        charged: True if they were charged.
        calls: The numbers of the calls.
        up_to: All of them up to this number, in place of single ones.
    """

    model_config = ConfigDict(extra="forbid")

    charged: bool
    calls: list[int] = Field(default_factory=list, max_length=1000)
    up_to: int | None = None


class NewLimit(BaseModel):
    """A limit to set.

    Attributes:
        name: Its name, such as ``total.day``.
        usd: The most in USD; None removes the limit.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=300)
    usd: float | None = Field(ge=0, le=1_000_000, allow_inf_nan=False)


def spending_router(runtime: Runtime) -> APIRouter:
    """The routes below ``/api/v1/external`` for the page. A user sees their own; administrators see all amounts."""
    router = APIRouter()
    data = PageData(runtime.settings, kept=runtime.images.kept)

    def model_names() -> dict[str, str]:
        return {model.reference: model.name for model in runtime.registry().models()}

    def spending(user: CurrentUserOrDefault) -> dict[str, Any]:
        with external_errors():
            return data.overview(viewer_of(user))

    def list_runs(
        user: CurrentUserOrDefault,
        only: Only = "all",
        before: int | None = None,
        count: Annotated[int, Query(ge=1, le=100)] = 25,
    ) -> dict[str, Any]:
        viewer = viewer_of(user)
        with external_errors():
            found = data.runs(viewer, only=only, before=before, count=count + 1)
            names = model_names()
        shown = found[:count]
        return {
            "runs": _with_images(runs(shown, viewer, names), shown, viewer),
            "before": shown[-1].id if len(found) > count else None,
        }

    def charts(user: CurrentUserOrDefault) -> dict[str, Any] | None:
        with external_errors():
            return data.charts(viewer_of(user), model_names())

    def prices(_: CurrentUserOrDefault) -> list[dict[str, Any]]:
        with external_errors():
            # Before there is a key, all of them: what it will cost helps to choose a provider.
            usable, seconds = runtime.providers() or set(runtime.providers_on()), data.usual_seconds()
            previews = runtime.settings().limits.previews
            return [
                prices_of(model, seconds, previews=previews)
                for model in runtime.registry().models()
                if model.provider in usable and model.lifecycle.status != "retired" and price_range(model)
            ]

    def settle(settled: Settled, user: CurrentUserOrDefault) -> dict[str, Any]:
        with external_errors():
            return data.settle(viewer_of(user), charged=settled.charged, calls=settled.calls, up_to=settled.up_to)

    def limits(_: AdminUserOrDefault) -> dict[str, Any]:
        with external_errors():
            return data.limits(user_names())

    def change_limit(new: NewLimit, _: AdminUserOrDefault) -> dict[str, Any]:
        with external_errors(422):
            data.set_limit(new.name, new.usd)
        with external_errors():
            return data.limits(user_names())

    add = router.add_api_route
    add("/spending", spending, operation_id="get_external_spending", summary="What was spent, and the limits")
    add("/spending/runs", list_runs, operation_id="list_external_runs", summary="The last runs with their cost")
    add("/spending/charts", charts, operation_id="get_external_charts", summary="What the last days cost")
    add("/prices", prices, operation_id="list_external_prices", summary="What an image costs, by size and quality")
    add(
        "/spending/settle",
        settle,
        methods=["POST"],
        dependencies=CHANGES,
        operation_id="settle_external_runs",
        summary="Settle runs that may have been charged",
    )
    add("/limits", limits, operation_id="get_external_limits", summary="The limits, for administrators")
    add(
        "/limits",
        change_limit,
        methods=["POST"],
        dependencies=CHANGES,
        operation_id="set_external_limit",
        summary="Set or remove a limit",
    )
    return router


def page_router() -> APIRouter:
    """The files of the page, which everybody gets: what they show is asked for with the user's own token."""
    router = APIRouter(include_in_schema=False)

    def without_slash() -> Response:
        # Relative: Invoke may be below a sub-path that only its proxy knows.
        return RedirectResponse("external/", headers=HEADERS)

    def file(name: str = "index.html") -> Response:
        if (found := file_of(name)) is None:
            raise HTTPException(404, "There is no such file.")
        content, media_type = found
        return Response(content, media_type=media_type, headers=HEADERS)

    def index() -> Response:
        return file()

    router.add_api_route("/external", without_slash, methods=["GET", "HEAD"])
    router.add_api_route("/external/", index, methods=["GET", "HEAD"])
    router.add_api_route("/external/{name}", file, methods=["GET", "HEAD"])
    return router


def _with_images(shown: list[dict[str, Any]], calls: Iterable[RecordedCall], viewer: Viewer) -> list[dict[str, Any]]:
    """The runs, those of this user with the image and its notices, if it is still in the gallery."""
    for run, call in zip(shown, calls, strict=True):
        if not viewer.is_payer(call) or not call.end.images or not call.end.request_id:
            continue
        ended = call.settled_at or call.started_at
        found = image_of_request(
            call.end.request_id, viewer.id, since=call.started_at - 1, until=ended + _SAVED_WITHIN_S
        )
        if found:
            run["image"] = found.name
            run["notices"] = [notice.get("message") for notice in found.metadata["external"].get("notices", [])]
    return shown
