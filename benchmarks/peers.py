"""From a prompt to a PNG file, with the plugin and with its alternatives: one process each.

``python -m benchmarks.peers PEER PROVIDER URL COUNT FOLDER`` makes one small image, and then COUNT images from the URL
for each line on its standard input. Each peer is written in the usual way, with one client for all requests. Only the
plugin and the built-in models' steps write metadata.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .processes import serve_requests

__all__ = ["PEERS"]

PROMPT = "a red fox in snow, early light, an old film camera's grain"
MODELS = {"openai": "gpt-image-2", "gemini": "gemini-2.5-flash-image"}
_KEY = "not-a-key"

Work = Callable[[int], None]
"""Makes a number of images."""


def _one_after_another(one: Callable[[], None]) -> Work:
    def work(count: int) -> None:
        for _ in range(count):
            one()

    return work


def _plugin(provider: str, url: str, folder: Path) -> Work:
    from invokeai_external import GenerationRequest, Service, load_settings
    from invokeai_external.cli.image_files import ImageFolder

    variable = f"INVOKEAI_EXTERNAL_{provider.upper()}"
    version = "v1" if provider == "openai" else "v1beta"
    environment = {f"{variable}_API_KEY": _KEY, f"{variable}_BASE_URL": f"{url}/{provider}/{version}"}
    root = folder / "root"
    root.mkdir(exist_ok=True)
    service = Service(load_settings(root, environment))
    images = ImageFolder(folder)
    runner = asyncio.Runner()

    def work(count: int) -> None:
        for old in folder.glob("*.*"):
            old.unlink()  # the others overwrite their files
        request = GenerationRequest(prompt=PROMPT, model=f"{provider}/{MODELS[provider]}", n=count)
        for image in runner.run(service.generate(request)).images:
            images.save(image)

    return work


def _plugin_without_pybase64(provider: str, url: str, folder: Path) -> Work:
    sys.modules["pybase64"] = None  # type: ignore[assignment] # as if it were not installed
    return _plugin(provider, url, folder)


def _httpx(provider: str, url: str, folder: Path) -> Work:
    import httpx

    client = httpx.Client(timeout=60, headers=_headers(provider))

    @_one_after_another
    def work() -> None:
        response = client.post(_url(provider, url), json=_body(provider)).raise_for_status().json()
        (folder / "image.png").write_bytes(base64.b64decode(_encoded(provider, response)))

    return work


def _sdk(provider: str, url: str, folder: Path) -> Work:
    return (_openai_sdk if provider == "openai" else _gemini_sdk)(url, folder)


def _openai_sdk(url: str, folder: Path) -> Work:
    import openai

    client = openai.OpenAI(api_key=_KEY, base_url=f"{url}/openai/v1")

    @_one_after_another
    def work() -> None:
        response = client.images.generate(model=MODELS["openai"], prompt=PROMPT)
        assert response.data
        (folder / "image.png").write_bytes(base64.b64decode(response.data[0].b64_json or ""))

    return work


def _gemini_sdk(url: str, folder: Path) -> Work:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=f"{url}/gemini", api_version="v1beta")
    client = genai.Client(api_key=_KEY, http_options=options)

    @_one_after_another
    def work() -> None:
        response = client.models.generate_content(model=MODELS["gemini"], contents=PROMPT)
        assert response.parts
        data = next(part.inline_data.data for part in response.parts if part.inline_data)
        (folder / "image.png").write_bytes(data or b"")

    return work


def _litellm(provider: str, url: str, folder: Path) -> Work:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it would download its prices
    import litellm

    base = f"{url}/{provider}" + ("/v1" if provider == "openai" else "/v1beta")

    @_one_after_another
    def work() -> None:
        response = litellm.image_generation(
            PROMPT, model=f"{provider}/{MODELS[provider]}", api_key=_KEY, api_base=base, timeout=60
        )
        assert response.data
        (folder / "image.png").write_bytes(base64.b64decode(response.data[0].b64_json or ""))

    return work


def _built_in(provider: str, url: str, folder: Path) -> Work:
    """What Invoke's own adapter and image store do: post, decode, and encode again at Invoke's default level of 1."""
    import requests
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    @_one_after_another
    def work() -> None:
        response = requests.post(_url(provider, url), json=_body(provider), headers=_headers(provider), timeout=60)
        image = Image.open(io.BytesIO(base64.b64decode(_encoded(provider, response.json())))).convert("RGB")
        info = PngInfo()
        info.add_text("invokeai_metadata", '{"positive_prompt": "' + PROMPT + '"}')
        image.save(folder / "image.png", "PNG", pnginfo=info, compress_level=1)

    return work


def _url(provider: str, url: str) -> str:
    path = "v1/images/generations" if provider == "openai" else f"v1beta/models/{MODELS[provider]}:generateContent"
    return f"{url}/{provider}/{path}"


def _body(provider: str) -> dict[str, Any]:
    if provider == "openai":
        return {"model": MODELS[provider], "prompt": PROMPT, "n": 1}
    return {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}


def _headers(provider: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {_KEY}"} if provider == "openai" else {"x-goog-api-key": _KEY}


def _encoded(provider: str, response: Any) -> str:
    """The base64 in the JSON of a response."""
    if provider == "openai":
        return str(response["data"][0]["b64_json"])
    return str(response["candidates"][0]["content"]["parts"][0]["inlineData"]["data"])


PEERS = {
    "the plugin": _plugin,
    "the plugin, without pybase64": _plugin_without_pybase64,
    "plain httpx": _httpx,
    "the official SDK": _sdk,
    "litellm": _litellm,
    "the built-in models' steps": _built_in,
}


def _main(peer: str, provider: str, url: str, count: str, folder: str) -> None:
    make = PEERS[peer]
    server = "/".join(url.split("/")[:3])
    make(provider, f"{server}/small/0", Path(folder))(1)
    serve_requests(partial(make(provider, url, Path(folder)), int(count)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
