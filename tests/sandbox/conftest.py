"""A client of the sandbox with valid keys, a function to queue faults, and images to send."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import httpx
import pytest
from PIL import Image

QueueFault = Callable[..., None]


@pytest.fixture
def http(sandbox_url: str) -> Iterator[httpx.Client]:
    """A client with valid keys for both services."""
    headers = {"Authorization": "Bearer sk-test", "x-goog-api-key": "test"}
    # This machine needs no certificates, and loading them takes longer than most tests.
    with httpx.Client(base_url=sandbox_url, headers=headers, timeout=30, verify=False) as client:
        yield client


@pytest.fixture
def queue_fault(http: httpx.Client) -> QueueFault:
    """Queue a fault: ``queue_fault("openai", "rate_limited", form="none")``."""

    def send(provider: str, fault: str, times: int = 1, **params: object) -> None:
        body = {"provider": provider, "fault": fault, "times": times, **params}
        response = http.post("/sandbox/faults", json=body)
        assert response.status_code == 201, response.text

    return send


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """An image with 300x200 pixels."""
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
