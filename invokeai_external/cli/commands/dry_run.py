"""What ``generate --dry-run`` shows: the requests that would be sent, and what they would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import anyio.to_thread

from ...errors import ExternalError, RequestError
from ...planning.plan import Plan
from ...providers.registry import Registry
from ...request import GenerationRequest
from ...service.payments import payments_of
from ...service.refusals import Purse
from ...service.service import Service
from ...settings.settings import Settings
from ...transport.messages import Base64, HttpRequest
from .. import report
from ..estimates import estimate_object, estimate_text

__all__ = ["dry_run_of"]


async def dry_run_of(
    current: Settings, request: GenerationRequest, purse: Purse, *, sandbox: bool, as_json: bool
) -> None:
    """Print what a request would send, and whether a limit would refuse it; nothing is sent."""
    refusal = None
    async with Service(current, sandbox=sandbox) as service:
        # Preparing images may take a while, so it runs in a thread: Ctrl-C works meanwhile.
        plan, requests = await anyio.to_thread.run_sync(service.dry_run, request, abandon_on_cancel=True)
        if _may_be_billed(service, request):
            refusal = await _refusal_of(current, plan, purse)
    shown = [_shown(http_request) for http_request in requests]
    if as_json:
        report.print_json(
            {
                "model": plan.model.id,
                "provider": plan.model.provider,
                "requests": shown,
                "notices": [asdict(notice) for notice in plan.notices],
                "estimated_cost_usd": plan.estimate_usd,
                "estimate": estimate_object(plan),
                "refusal": report.error_object(refusal) if refusal else None,
            }
        )
        return
    _print_plan(plan, shown)
    if refusal:
        report.say(f"This would be refused: {refusal.message}", indent=2)
        if refusal.hint:
            report.say(f"  {refusal.hint}", indent=2)


def _may_be_billed(service: Service, request: GenerationRequest) -> bool:
    """True if limits apply to a request; also without a key, which a dry run does not need."""
    try:
        return service.is_billed(request)
    except RequestError:
        return True


async def _refusal_of(current: Settings, plan: Plan, purse: Purse) -> ExternalError | None:
    """The error with which a limit would refuse a plan now."""
    payments = payments_of(current, lambda: Registry(current.catalog))
    try:
        await anyio.to_thread.run_sync(payments.check, plan, purse)
    except ExternalError as error:
        return error
    finally:
        await payments.aclose()
    return None


def _print_plan(plan: Plan, shown: list[dict[str, Any]]) -> None:
    for request in shown:
        print(f"POST {request['url']}")
        for name, value in request.get("headers", {}).items():
            print(f"{name}: {value}")
        report.print_json(request.get("json") or {"form": request["form"], "files": request["files"]})
    report.notices(plan.notices)
    report.say(f"{estimate_text(plan)} Nothing was sent.")


def _shown(request: HttpRequest) -> dict[str, Any]:
    """A request for people to read: all of it but the image data."""
    head = {"url": request.url, **({"headers": dict(request.headers)} if request.headers else {})}
    if request.json is not None:
        return {**head, "json": _without_images(request.json)}
    files = [f"{part.name}: {part.filename}, {part.content_type}, {len(part.data):,} bytes" for part in request.files]
    return {**head, "form": dict(request.form), "files": files}


def _without_images(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_images(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_images(inner) for inner in value]
    return f"<{len(value):,} characters of base64>" if isinstance(value, Base64) else value
