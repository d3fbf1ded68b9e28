"""Clients that speak to the sandbox with a good key, orders for faults, and pictures to send."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import httpx
import pytest
from PIL import Image

Order = Callable[..., None]


@pytest.fixture
def http(sandbox_url: str) -> Iterator[httpx.Client]:
    """A client with good keys for both services."""
    headers = {"Authorization": "Bearer sk-test", "x-goog-api-key": "test"}
    # No certificates are needed for this machine, and to load them takes longer than most tests.
    with httpx.Client(base_url=sandbox_url, headers=headers, timeout=30, verify=False) as client:
        yield client


@pytest.fixture
def order(http: httpx.Client) -> Order:
    """Order a fault: ``order("openai", "rate_limited", form="none")``."""

    def send(provider: str, fault: str, times: int = 1, **params: object) -> None:
        body = {"provider": provider, "fault": fault, "times": times, **params}
        response = http.post("/sandbox/faults", json=body)
        assert response.status_code == 201, response.text

    return send


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A picture of 300x200 pixels."""
    ramp = Image.linear_gradient("L")
    bands = (ramp, ramp.rotate(90), Image.radial_gradient("L"))
    return Image.merge("RGB", [band.resize((300, 200)) for band in bands])


@pytest.fixture(scope="session")
def photo_png(photo: Image.Image) -> bytes:
    return _png(photo)


@pytest.fixture(scope="session")
def mask_png() -> bytes:
    """An OpenAI mask for the photo: transparent, which means change, in the box 100, 50 to 200, 150."""
    mask = Image.new("RGBA", (300, 200), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (100, 50, 200, 150))
    return _png(mask)
