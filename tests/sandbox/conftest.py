"""A sandbox behind a real HTTP server, and clients that speak to it with a good key."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from invokeai_external.sandbox import create_app

OpenAIBody = dict[str, object]


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port; gives its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="session")
def shared_sandbox_url() -> Iterator[str]:
    with serving(create_app()) as url:
        yield url


@pytest.fixture(scope="session")
def legacy_sandbox_url() -> Iterator[str]:
    """A sandbox whose retired models still answer."""
    with serving(create_app(serve_retired=True)) as url:
        yield url


@pytest.fixture
def sandbox_url(shared_sandbox_url: str) -> Iterator[str]:
    """The URL of a sandbox without ordered faults and with an empty log."""
    yield shared_sandbox_url
    for path in ("/sandbox/faults", "/sandbox/requests"):
        httpx.delete(f"{shared_sandbox_url}{path}").raise_for_status()


@pytest.fixture
def http(sandbox_url: str) -> Iterator[httpx.Client]:
    """A client with good keys for both services."""
    headers = {"Authorization": "Bearer sk-test", "x-goog-api-key": "test"}
    with httpx.Client(base_url=sandbox_url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def order(sandbox_url: str) -> Callable[..., None]:
    """Order a fault: ``order("openai", "rate_limited", form="none")``."""

    def send(provider: str, fault: str, times: int = 1, **params: object) -> None:
        body = {"provider": provider, "fault": fault, "times": times, **params}
        response = httpx.post(f"{sandbox_url}/sandbox/faults", json=body)
        assert response.status_code == 201, response.text

    return send


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A picture of 300x200 pixels, all of them different from their neighbours."""
    return Image.merge(
        "RGB",
        (
            Image.linear_gradient("L").resize((300, 200)),
            Image.linear_gradient("L").rotate(90).resize((300, 200)),
            Image.radial_gradient("L").resize((300, 200)),
        ),
    )


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photo_png(photo: Image.Image) -> bytes:
    return png(photo)


@pytest.fixture(scope="session")
def mask_png() -> bytes:
    """An OpenAI mask for the photo: transparent, which means change, in the box 100, 50 to 200, 150."""
    mask = Image.new("RGBA", (300, 200), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (100, 50, 200, 150))
    return png(mask)
