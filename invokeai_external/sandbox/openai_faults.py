"""What each fault looks like in OpenAI's API."""

from __future__ import annotations

from .errors import HtmlPage, Refusal, openai_error, request_id
from .faults import Fault
from .responses import rate_limit_headers, wait_sentence

__all__ = ["error_event", "raise_fault_error", "refuse_stream"]

_QUOTA_MESSAGES = {
    "insufficient_quota": (
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
    ),
    "billing_hard_limit_reached": "Billing hard limit has been reached.",
    "project_spend_limit_exceeded": "This project has reached its monthly spend limit.",
    "insufficient_user_quota": "The user's quota is not sufficient for this request.",
}

_SERVER_MESSAGES = {
    408: "Request timed out.",
    409: "The request conflicts with another one. Please try again.",
    500: "The server had an error while processing your request. Sorry about that!",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    504: "Gateway timeout.",
}


def raise_fault_error(fault: Fault | None) -> None:
    """Raise the error response of a fault, if it has one."""
    if fault is None:
        return
    if fault.name == "rate_limited":
        raise openai_error(
            429,
            "Rate limit reached for images per minute (IPM) in organization org-sandbox: Limit 5, Used 5, Requested 1. "
            f"{wait_sentence(fault)}Visit https://platform.openai.com/account/rate-limits to learn more.",
            kind="requests",
            code="rate_limit_exceeded",
            headers=rate_limit_headers(fault),
        )
    if fault.name == "quota":
        code = fault.text("code")
        kind = "insufficient_quota" if code == "insufficient_quota" else "invalid_request_error"
        raise openai_error(int(fault.number("status")), _QUOTA_MESSAGES[code], kind=kind, code=code)
    if fault.name == "server_error":
        status = int(fault.number("status"))
        if fault.text("body") == "html":
            raise HtmlPage(status)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        raise openai_error(status, _SERVER_MESSAGES[status], kind=kind)
    if fault.name == "organization_not_verified":
        raise openai_error(
            403,
            "Your organization must be verified to use this model. Please go to: "
            "https://platform.openai.com/settings/organization/general and click on Verify Organization. If you just "
            "verified, it can take up to 15 minutes for access to propagate.",
        )
    if fault.name == "moderation":
        raise _moderation_blocked(fault.text("violation"), fault.text("stage"))


def refuse_stream(fault: Fault | None) -> None:
    """Raise the error of a server without streams, if that is the fault."""
    if fault and fault.name == "stream_refused":
        raise openai_error(400, "Unknown parameter: 'stream'.", param="stream", code="unknown_parameter")


_EVENT_ERRORS = {
    "server_error": ("server_error", _SERVER_MESSAGES[500]),
    "rate_limit_exceeded": ("requests", "Rate limit reached for images per minute (IPM)."),
    "moderation_blocked": ("image_generation_user_error", "Your request was rejected by the safety system."),
}


def error_event(fault: Fault) -> dict[str, object]:
    """The error object that ends a stream."""
    code = fault.text("code")
    kind, message = _EVENT_ERRORS[code]
    error: dict[str, object] = {"message": message, "type": kind, "param": None, "code": code}
    if code == "moderation_blocked":
        # The stream had begun, so the prompt was accepted.
        error["moderation_details"] = {"moderation_stage": "output", "categories": ["violence"]}
    return {"type": "error", "error": error}


def _moderation_blocked(violation: str, stage: str) -> Refusal:
    name = request_id()
    return openai_error(
        400,
        "Your request was rejected by the safety system. If you believe this is an error, contact us at "
        f"help.openai.com and include the request ID {name}. safety_violations=[{violation}].",
        kind="image_generation_user_error",
        code="moderation_blocked",
        headers={"x-request-id": name},
        moderation_details={"moderation_stage": stage, "categories": [violation]},
    )
