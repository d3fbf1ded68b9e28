"""Reads the details of Google's errors: ``google.rpc.RetryInfo``, ``QuotaFailure`` and ``ErrorInfo``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..transport.retry_policy import retry_after_from_duration
from .fields import get, mapping, mappings, text_of

__all__ = ["is_zero", "retry_delay", "violations"]


def retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """The seconds of ``google.rpc.RetryInfo``, such as ``20.75s`` or ``900ms``; None if it is missing."""
    for detail in details:
        if wait_s := retry_after_from_duration(text_of(get(detail, "retryDelay")) or ""):
            return wait_s
    return None


def violations(details: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The quotas of ``google.rpc.QuotaFailure`` that were exceeded."""
    return [violation for detail in details for violation in mappings(detail.get("violations"))]


def is_zero(details: Sequence[Mapping[str, Any]]) -> bool:
    """True if the quota that was exceeded is zero. Protocol Buffers omit zeros, so a missing value is one."""
    values = [get(violation, "quotaValue") or 0 for violation in violations(details) if get(violation, "quotaId")]
    values += [
        metadata["quota_limit_value"]
        for detail in details
        if "quota_limit_value" in (metadata := mapping(detail.get("metadata")))
    ]
    return any(str(value) == "0" for value in values)
