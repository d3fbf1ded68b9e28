"""One response to the plugin, or eight requests with references, and the longest block of the event loop.

``python -m benchmarks.limited PROVIDER URL RESPONSE MODE OUTCOME`` is a child process that makes one small image, and
then requests the response for each line on its standard input. The mode is the number of previews, or ``references``.
It fails unless the outcome is the given one: ``image`` or ``error``.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from invokeai_external import ExternalError, GenerationRequest, InputImage, Service, load_settings

from .peers import PROMPT
from .processes import serve_requests

_MODELS = {"openai": "gpt-image-2", "gemini": "gemini-nano-banana-2.1"}
"""Models with previews."""

_TICK_S = 0.001
_CALLS = 8
_REFERENCE = (2840, 2400)
"""Noise of this size is a PNG of 6.8 MB."""


def _service(provider: str, base_url: str, root: Path) -> Service:
    variable = f"INVOKEAI_EXTERNAL_{provider.upper()}"
    environment = {f"{variable}_API_KEY": "not-a-key", f"{variable}_BASE_URL": base_url}
    return Service(load_settings(root, environment))


async def _held(service: Service, request: GenerationRequest, calls: int, outcome: str) -> float:
    """The longest time in which nothing else could run during the calls, in seconds.

    A late turn counts only for as long as this process was working, and not another one.
    """
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            wall, work = time.perf_counter(), time.process_time()
            await asyncio.sleep(_TICK_S)
            longest = max(longest, min(time.perf_counter() - wall - _TICK_S, time.process_time() - work))

    async def call() -> None:
        try:
            await service.generate(request)
        except ExternalError:
            if outcome != "error":
                raise
        else:
            if outcome != "image":
                raise RuntimeError("a response without an image returned one")

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(call() for _ in range(calls)))
    ticking.cancel()
    return longest


def _references() -> tuple[InputImage, ...]:
    file = io.BytesIO()
    Image.effect_noise(_REFERENCE, 100).save(file, "PNG")
    return (InputImage(file.getvalue(), "noise.png"),) * 2


def main(provider: str, url: str, response: str, mode: str, outcome: str) -> None:
    model = f"{provider}/{_MODELS[provider]}"
    request = GenerationRequest(model=model, prompt=PROMPT)
    with tempfile.TemporaryDirectory() as root, asyncio.Runner() as runner:
        small = _service(provider, f"{url}/small/{provider}", Path(root))
        worst = _service(provider, f"{url}/{response}/{provider}", Path(root))
        runner.run(_held(small, request, 1, "image"))
        calls = 1
        if mode == "references":
            calls = _CALLS
            request = GenerationRequest(model=model, prompt=PROMPT, references=_references())
        elif int(mode):
            request = GenerationRequest(model=model, prompt=PROMPT, previews=int(mode))
        serve_requests(lambda: runner.run(_held(worst, request, calls, outcome)))


if __name__ == "__main__":
    main(*sys.argv[1:])
