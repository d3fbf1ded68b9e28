"""One answer to the plugin, or eight calls with references, and the longest hold of the event loop: a child process.

``python -m benchmarks.limited PROVIDER ADDRESS ANSWER MODE OUTCOME`` makes one small image, and then asks for the
answer for each line on its standard input; the mode is the number of previews, or ``references``. It fails unless the
outcome is as said: ``image`` or ``error``.
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
from .processes import answer_requests

_MODELS = {"openai": "gpt-image-2", "gemini": "gemini-nano-banana-2.1"}
"""Models that show previews."""

_TICK_S = 0.001
_CALLS = 8
_REFERENCE = (2840, 2400)
"""Noise of so many pixels is a PNG of 6.8 MB."""


def _service(provider: str, base_url: str, root: Path) -> Service:
    variable = f"INVOKEAI_EXTERNAL_{provider.upper()}"
    environment = {f"{variable}_API_KEY": "not-a-key", f"{variable}_BASE_URL": base_url}
    return Service(load_settings(root, environment))


async def _held(service: Service, request: GenerationRequest, calls: int, outcome: str) -> float:
    """The longest time for which nothing else ran while the calls did, in seconds.

    A turn that came late counts only as far as this process was at work meanwhile, and not another one.
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
                raise RuntimeError("an image came of an answer that holds none")

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(call() for _ in range(calls)))
    ticking.cancel()
    return longest


def _references() -> tuple[InputImage, ...]:
    file = io.BytesIO()
    Image.effect_noise(_REFERENCE, 100).save(file, "PNG")
    return (InputImage(file.getvalue(), "noise.png"),) * 2


def main(provider: str, address: str, answer: str, mode: str, outcome: str) -> None:
    model = f"{provider}/{_MODELS[provider]}"
    request = GenerationRequest(model=model, prompt=PROMPT)
    with tempfile.TemporaryDirectory() as root, asyncio.Runner() as runner:
        small = _service(provider, f"{address}/small/{provider}", Path(root))
        worst = _service(provider, f"{address}/{answer}/{provider}", Path(root))
        runner.run(_held(small, request, 1, "image"))
        calls = 1
        if mode == "references":
            calls = _CALLS
            request = GenerationRequest(model=model, prompt=PROMPT, references=_references())
        elif int(mode):
            request = GenerationRequest(model=model, prompt=PROMPT, previews=int(mode))
        answer_requests(lambda: runner.run(_held(worst, request, calls, outcome)))


if __name__ == "__main__":
    main(*sys.argv[1:])
