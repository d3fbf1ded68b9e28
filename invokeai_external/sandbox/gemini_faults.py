"""What each fault looks like in the Gemini API."""

from __future__ import annotations

from .errors import HtmlPage, Refusal, gemini_error
from .faults import Fault
from .responses import rate_limit_headers, wait_sentence

__all__ = ["error_chunk", "fault_body", "raise_fault_error"]

_SERVER_MESSAGES = {
    400: "Request contains an invalid argument.",
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    408: "The request timed out.",
    409: "The operation was aborted.",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "An internal error has occurred. Please retry or report in https://ai.google.dev/gemini-api/docs",
    502: "The service is currently unavailable.",
    503: "The model is overloaded. Please try again later.",
    504: "The request timed out. Please try again.",
}

_QUOTA_MESSAGE = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)
_PREPAYMENT_MESSAGE = "Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing."
_QUOTA_IDS = {
    "per_day": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "zero_value": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "per_minute": "GenerateRequestsPerMinutePerProjectPerModel",
}
_METRIC = "generativelanguage.googleapis.com/generate_content_free_tier_requests"


def raise_fault_error(fault: Fault | None) -> None:
    """Raise the error response of a fault, if it has one."""
    if fault is None:
        return
    if fault.name == "rate_limited":
        raise _rate_limited(fault)
    if fault.name == "quota":
        raise _quota(fault.text("limit"), int(fault.number("status")), fault.optional("delay"))
    if fault.name == "server_error":
        status = int(fault.number("status"))
        raise HtmlPage(status) if fault.text("body") == "html" else gemini_error(status, _SERVER_MESSAGES[status])
    if fault.name == "wrapped_error":
        status = int(fault.number("status"))
        raise Refusal(status, [gemini_error(status, _SERVER_MESSAGES[status]).body])


def error_chunk(fault: Fault) -> dict[str, object]:
    """The error object that ends a stream."""
    status = int(fault.number("status"))
    error = gemini_error(status, _SERVER_MESSAGES[status]).body
    assert isinstance(error, dict)
    return error


def _rate_limited(fault: Fault) -> Refusal:
    details = []
    if fault.text("form") == "retry-info":
        details.append(_retry_info(fault.optional("delay") or f"{fault.number('seconds'):g}s"))
    message = f"{_SERVER_MESSAGES[429]} {wait_sentence(fault)}".rstrip()
    return gemini_error(429, message, details=details, headers=rate_limit_headers(fault))


def _quota(limit: str, status: int, delay: str | None) -> Refusal:
    details: list[dict[str, object]] = []
    message = _QUOTA_MESSAGE
    if limit == "prepayment":
        message = _PREPAYMENT_MESSAGE
    elif limit == "zero":
        message += f" \n* Quota exceeded for metric: {_METRIC}, limit: 0, model: gemini-image"
    else:
        violation: dict[str, object] = {"quotaMetric": _METRIC, "quotaId": _QUOTA_IDS[limit]}
        # As in all JSON of protocol buffers, a zero is omitted.
        if limit != "zero_value":
            violation["quotaValue"] = "20"
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]})
    if delay:
        details.append(_retry_info(delay))
    return gemini_error(status, message, status="RESOURCE_EXHAUSTED", details=details)


def _retry_info(delay: str) -> dict[str, object]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def fault_body(fault: Fault | None) -> dict[str, object] | None:
    """What a fault puts into a 200 response in place of candidates with an image; None for other faults."""
    if fault is None:
        return None
    if fault.name == "blocked_prompt":
        return {"promptFeedback": {"blockReason": fault.text("reason")}}
    if fault.name == "refusal_text":
        content = {"parts": [{"text": fault.text("text")}], "role": "model"}
        return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}
    if fault.name == "finish_reason":
        candidate: dict[str, object] = {"content": {}, "finishReason": fault.text("reason"), "index": 0}
        message = fault.optional("message")
        if message:
            candidate["finishMessage"] = message
        return {"candidates": [candidate]}
    if fault.name == "no_image":
        return {"candidates": [{"content": {"role": "model"}, "finishReason": "STOP", "index": 0}]}
    return None
