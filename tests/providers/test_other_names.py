"""An error of a compatible provider names that provider, and nothing of the one whose API it has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from invokeai_external.adapters.base import Adapter
from invokeai_external.adapters.find import adapter_of
from invokeai_external.errors import ProviderError
from invokeai_external.planning.plan import Call, plan
from invokeai_external.providers import catalog
from invokeai_external.providers.provider_config import ProviderConfig
from invokeai_external.request import GenerationRequest
from invokeai_external.transport.messages import HttpResponse

STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 503, 504, 524)
CODES = (
    *(None, "insufficient_quota", "billing_hard_limit_reached", "moderation_blocked", "insufficient_user_quota"),
    *("model_not_found", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "API_KEY_INVALID", "content_filter"),
)
OTHERS = {"openai", "google", "gemini", "platform"}
MESSAGES = ("", "Your organization must be verified to stream.", "limit: 0", "Unknown name responseModalities")


def bodies() -> Iterator[bytes]:
    for code in CODES:
        for message in MESSAGES:
            error = {"message": message, "code": code, "status": code}
            details = [{"reason": code, "violations": [{"quotaId": "PerDay", "quotaValue": "0"}]}]
            yield json.dumps({"error": {**error, "details": details}}).encode()
    yield from (b"", b"<html></html>", b'{"data": []}', b'{"candidates": [{"finishReason": "SAFETY"}]}', b"{}")


@pytest.mark.parametrize("like", ["openai", "gemini"])
def test_no_error_of_a_compatible_provider_names_another(like: str) -> None:
    known = catalog.page(like)
    acme = ProviderConfig(id="acme", adapter=known.provider.adapter, name="Acme", base_url="https://acme.example/v1")
    adapter = adapter_of(acme)
    model = known.configs()[0].model_copy(
        update={"id": "acme-image-1", "name": "Acme Image", "provider": "acme", "provider_name": "Acme", "aliases": ()}
    )
    call = plan(GenerationRequest(prompt="a fox", model="acme/acme-image-1"), model).calls[0]
    said = [_said(adapter, status, body, call) for status in (200, *STATUSES) for body in bodies()]
    assert len(said) > 500
    assert [text for text in said if "None" in text] == []
    assert {word for text in said for word in re.findall("[a-z]+", text.lower())} & OTHERS == set()


def _said(adapter: Adapter, status: int, body: bytes, call: Call) -> str:
    with pytest.raises(ProviderError) as caught:
        adapter.parse(HttpResponse(status, {"content-type": "application/json"}, body, 0.0), call)
    return str(caught.value)
