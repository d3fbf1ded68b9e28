"""Calls with every fault of the sandbox in random order through one Service: ``python -m tests.fault_mixture [500]``.

It ends; each call ends in images or in one error; the images that are handed over are those that the sandbox says it
sent whole, byte for byte; memory, open files and threads stay as they were.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import io
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
from PIL import Image
from pydantic import SecretStr

from invokeai_external.errors import ProviderError
from invokeai_external.request import GenerationRequest
from invokeai_external.sandbox.faults import FAULTS
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Credentials, Limits, Settings
from invokeai_external.sizing import Size

from .support.reckoning import reckon, rows_in

_AT_ONCE = 8
_LIMIT_S = 2.0
"""The time limits of a call; it is what a call takes on a busy machine, too, so that some good ones meet it."""

_MODELS = {"openai": ("openai/gpt-image-2", Size(816, 816)), "gemini": ("gemini/gemini-2.5-flash-image", None)}

_SLOW = {"slow": (0.05, 60.0), "slow_stream": (0.05, 60.0), "rate_limited": (0.02, 0.2, 300.0)}
"""Seconds for the faults that take some: short enough to be met, or longer than anybody waits."""

_SERVER = """
import sys
sys.path.insert(0, {root!r})
from tests.support.servers import SandboxServer
with SandboxServer() as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


@dataclass
class Mixture:
    """How the calls ended.

    Attributes:
        images: How many calls ended in images.
        errors: How many ended in each error.
        wrong: What should not be, as sentences.
        memory: The resident memory in bytes, after each call.
        files: The open files before, and after closing; what was open before may be of other tests, and end meanwhile.
        threads: The threads before, and after closing, likewise.
    """

    images: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    files: list[set[str]] = field(default_factory=list)
    threads: list[set[threading.Thread]] = field(default_factory=list)

    @property
    def left(self) -> list[object]:
        """The files and threads that are there after closing and were not there before."""
        return [*(self.files[1] - self.files[0]), *(self.threads[1] - self.threads[0])]


def mix(url: str, root: Path, calls: int, seed: int) -> Mixture:
    """Send so many calls to the sandbox at ``url``, the same ones for the same seed."""
    mixture = Mixture()
    gc.collect()
    mixture.files.append(_open_files())
    mixture.threads.append(set(threading.enumerate()))
    anyio.run(_run, mixture, url, root, calls, random.Random(seed))
    gc.collect()
    mixture.files.append(_open_files())
    mixture.threads.append(set(threading.enumerate()))
    return mixture


async def _run(mixture: Mixture, url: str, root: Path, calls: int, dice: random.Random) -> None:
    settings = Settings(
        root,
        {
            "openai": Credentials(SecretStr("sk-test-of-faults"), f"{url}/openai/v1", "a test"),
            "gemini": Credentials(SecretStr("test-of-faults"), f"{url}/gemini/v1beta", "a test"),
        },
        Limits(
            concurrency=_AT_ONCE,
            timeout_s=_LIMIT_S,
            total_timeout_s=_LIMIT_S,
            max_wait_s=2,
            max_attempts=3,
            record_prompts=True,
        ),
    )
    # Each fault comes before any comes twice.
    every = [(provider, name) for name, kind in FAULTS.items() for provider in kind.providers]
    drawn: list[tuple[str, str]] = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as sandbox, Service(settings) as service:
        for first in range(0, calls, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, calls))
            await sandbox.delete("/sandbox/faults")
            await sandbox.delete("/sandbox/requests")
            # What holds a model for minutes is to hold only one batch.
            service._attempts._holds.clear()
            requests = []
            for number in numbers:
                drawn = drawn or dice.sample(every, len(every))
                provider, name = drawn.pop()
                order = {"provider": provider, "fault": name, **_params(name, dice)}
                answer = await sandbox.post("/sandbox/faults", json=order)
                assert answer.status_code == 201, answer.text
                requests.append(_request(number, provider, dice))
            outcomes: list[list[str] | ProviderError | None] = [[] for _ in requests]

            async def ask(
                place: int, request: GenerationRequest, outcomes: list[list[str] | ProviderError | None] = outcomes
            ) -> None:
                try:
                    result = await service.generate(request)
                    if any(notice.code == "thought_image" for notice in result.notices):
                        # The image itself could not be read; the sandbox counts no thoughts.
                        outcomes[place] = None
                    else:
                        outcomes[place] = [hashlib.sha256(image.data).hexdigest() for image in result.images]
                except ProviderError as error:
                    outcomes[place] = error

            async with anyio.create_task_group() as group:
                for place, request in enumerate(requests):
                    group.start_soon(ask, place, request)
            log = (await sandbox.get("/sandbox/requests")).json()["requests"]
            for request, outcome in zip(requests, outcomes, strict=True):
                _judge(mixture, request, outcome, log)
            prompts = {request.prompt for request in requests}
            await service.settled()
            rows = [row for row in rows_in(root) if row.call.prompt in prompts]
            assert len(rows) == len(requests)
            mixture.wrong.extend(reckon(rows, log).wrong)
            gc.collect()
            mixture.memory.extend([_resident()] * len(requests))


def _request(number: int, provider: str, dice: random.Random) -> GenerationRequest:
    model, size = _MODELS[provider]
    previews = dice.choice((0, 0, 1)) if provider == "openai" else 0
    n = dice.choice((1, 1, 2)) if provider == "openai" and not previews else 1
    request = GenerationRequest(model=model, prompt=f"call number {number}.", size=size, n=n, previews=previews)
    return (
        request if provider == "openai" else replace(request, model=dice.choice(_GEMINI), previews=dice.choice((0, 1)))
    )


_GEMINI = ("gemini/gemini-2.5-flash-image", "gemini/gemini-nano-banana-2.1")


def _params(name: str, dice: random.Random) -> dict[str, Any]:
    params: dict[str, Any] = {
        key: dice.choice(param.choices) for key, param in FAULTS[name].params.items() if param.choices
    }
    if "seconds" in FAULTS[name].params:
        params["seconds"] = dice.choice(_SLOW[name])
    if "misses" in FAULTS[name].params:
        params["misses"] = dice.choice((0.0, 1.0, 2.0))
    if name == "served_file":
        file = io.BytesIO()
        Image.new("RGB", (300, 200), dice.choice(("red", "green"))).save(file, "PNG")
        params["file"] = base64.b64encode(file.getvalue()).decode()
    return params


def _judge(
    mixture: Mixture, request: GenerationRequest, outcome: list[str] | ProviderError | None, log: list[dict[str, Any]]
) -> None:
    """Compare what a call ended in with what the sandbox sent for it."""
    tries = [entry for entry in log if f'"{request.prompt}"' in str(entry).replace("'", '"')]
    sent = {digest for entry in tries for digest in entry["images"]}
    if isinstance(outcome, ProviderError):
        mixture.errors[outcome.code] += 1
        # Behind the time limit nobody listens any more.
        if sent and outcome.code != "timed_out":
            mixture.wrong.append(f"{request.prompt} {outcome.code}: {outcome} though {len(sent)} images were sent")
        return
    mixture.images += 1
    if outcome is None:
        return
    handed = set(outcome)
    if not handed or not handed <= sent or len(handed) != min(request.n, len(sent)):
        mixture.wrong.append(f"{request.prompt} {len(handed)} images were handed over and {len(sent)} were sent")


def _open_files() -> set[str]:
    """What is open, each with a separate name: files by their paths, sockets and pipes by their numbers."""
    targets = set()
    for link in Path("/proc/self/fd").iterdir():
        # The list itself is closed again.
        with contextlib.suppress(OSError):
            targets.add(f"{link.name} {link.readlink()}")
    return {target for target in targets if "/proc/" not in target}


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def served() -> Iterator[str]:
    """A sandbox in a separate process, so that its memory is not counted; gives its URL."""
    script = _SERVER.format(root=str(Path(__file__).resolve().parent.parent))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as it:
        assert it.stdout is not None
        assert it.stdin is not None
        yield it.stdout.readline().strip()
        it.stdin.close()


def main(arguments: list[str]) -> int:
    calls = int(arguments[0]) if arguments else 500
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(10**6)
    with tempfile.TemporaryDirectory() as root, served() as url:
        mixture = mix(url, Path(root), calls, seed)
    grown = mixture.memory[-1] - mixture.memory[min(100, len(mixture.memory)) - 1]
    print(f"seed {seed}: {calls} calls, {mixture.images} with images, errors {dict(mixture.errors)}")
    print(
        f"memory {grown / 1e6:+.1f} MB since call 100, files {[*map(len, mixture.files)]}, "
        f"threads {[*map(len, mixture.threads)]}"
    )
    print(*mixture.wrong, sep="\n")
    is_flat = grown <= 20e6 and not mixture.left
    return 0 if is_flat and not mixture.wrong else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
