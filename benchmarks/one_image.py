"""What does one image cost the client, from the prompt to a PNG file?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from .measuring import Part, Table, interleaved, median
from .peers import PEERS
from .processes import Cost, Peer
from .provider import make_responses, served

__all__ = ["TITLE", "measure"]

TITLE = "One image, on the client's side"

_TEXT = """\
From the prompt to a PNG file, without the provider's time: a server in a separate process sends a prepared response.
Each peer is a separate process that has already made one small image. The peers take turns, and the figures are
medians. *Memory* is the peak of a process above its idle memory, in multiples of the size of the image file.

- *plain httpx*: `client.post()`, `.json()`, `base64.b64decode`, `write_bytes`; no checks, no metadata.
- *the official SDK*: `openai` or `google-genai`; no metadata.
- *the built-in models' steps*: what Invoke's own adapters do, without Invoke around them: `requests.post`, `.json()`,
  base64, Pillow, and a PNG that is encoded again at Invoke's default level, with metadata.
- *the plugin* checks the image, writes metadata into it and calculates its cost; it uses `pybase64` if it is
  installed."""

_PROVIDERS = {"openai": "OpenAI", "gemini": "Gemini"}
_SIZES = ("1K", "4K")


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    tables = []
    with tempfile.TemporaryDirectory() as name:
        responses, images = Path(name, "responses"), Path(name, "images")
        responses.mkdir()
        images.mkdir()
        bytes_of = make_responses(responses)
        with served(responses) as url:
            for provider, title in _PROVIDERS.items():
                for size in _SIZES:
                    report(f"{title}, {size}")
                    costs = _costs(rounds, provider, url, size, images)
                    tables.append(
                        _table(f"{title}, {size}, a PNG of {bytes_of[size] / 1e6:.1f} MB", costs, bytes_of[size])
                    )
    return Part(TITLE, _TEXT, tables)


def _costs(rounds: int, provider: str, url: str, size: str, folder: Path) -> dict[str, list[Cost]]:
    with ExitStack() as stack:
        peers = {}
        for name in PEERS:
            own = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
            peers[name] = stack.enter_context(Peer("peers", name, provider, f"{url}/{size}/0", "1", own))
        return interleaved(rounds, {name: peer.work for name, peer in peers.items()})


def _table(title: str, costs: Mapping[str, Sequence[Cost]], image_bytes: int) -> Table:
    wall = {name: median(cost.wall_s for cost in each) for name, each in costs.items()}
    rows = [
        [
            name,
            f"{1e3 * wall[name]:.1f} ms",
            f"{wall[name] / wall['plain httpx']:.2f}",
            f"{1e3 * median(cost.cpu_s for cost in each):.1f} ms",
            f"{median(cost.memory for cost in each) / image_bytes:.2f}",
        ]
        for name, each in costs.items()
    ]
    return Table(title, ["", "Time", "Relative to plain httpx", "CPU", "Memory"], rows)
