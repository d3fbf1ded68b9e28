"""Fixtures of the service tests: the sandbox over HTTP, with its faults."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .common import Order


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def order(sandbox_url: str) -> Order:
    """Order faults of a model's provider from the sandbox."""

    def order_fault(model: str, fault: str, **params: Any) -> None:
        provider = model.partition("/")[0]
        answer = httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": provider, "fault": fault, **params})
        assert answer.is_success, answer.text

    return order_fault
