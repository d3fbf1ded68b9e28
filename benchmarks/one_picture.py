"""What does one picture take, from the prompt to a PNG file, on the client's side?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from .measuring import Part, Table, interleaved, median
from .peers import PEERS
from .processes import Cost, Peer
from .provider import make_answers, served

__all__ = ["TITLE", "measure"]

TITLE = "One picture, on the client's side"

_TEXT = """\
From the prompt to a PNG file, with the provider's time left out: a server in a process of its own gives an answer that
was made beforehand. Each peer is a process of its own, warm: it has made one small picture. The peers take turns, and
the figures are medians. *Memory* is the most that a process has above what it had when it was idle, in multiples of
the picture's file.

- *httpx alone*: `client.post()`, `.json()`, `base64.b64decode`, `write_bytes`; nothing is checked, no metadata.
- *The official SDK*: `openai` or `google-genai`; no metadata.
- *The built-in's steps*: what Invoke's own adapters do, without Invoke around them: `requests.post`, `.json()`, base64,
  Pillow, and a PNG encoded anew at Invoke's default level, with metadata.
- *The plugin* checks the picture, writes metadata into it and tells what it cost; it uses `pybase64` where that is."""

_PROVIDERS = {"openai": "OpenAI", "gemini": "Gemini"}
_SIZES = ("1K", "4K")


def measure(rounds: int, told: Callable[[str], None]) -> Part:
    tables = []
    with tempfile.TemporaryDirectory() as name:
        answers, pictures = Path(name, "answers"), Path(name, "pictures")
        answers.mkdir()
        pictures.mkdir()
        bytes_of = make_answers(answers)
        with served(answers) as address:
            for provider, title in _PROVIDERS.items():
                for size in _SIZES:
                    told(f"{title}, {size}")
                    costs = _costs(rounds, provider, address, size, pictures)
                    tables.append(
                        _table(f"{title}, {size}, a PNG of {bytes_of[size] / 1e6:.1f} MB", costs, bytes_of[size])
                    )
    return Part(TITLE, _TEXT, tables)


def _costs(rounds: int, provider: str, address: str, size: str, folder: Path) -> dict[str, list[Cost]]:
    with ExitStack() as stack:
        peers = {}
        for name in PEERS:
            own = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
            peers[name] = stack.enter_context(Peer("peers", name, provider, f"{address}/{size}/0", "1", own))
        return interleaved(rounds, {name: peer.work for name, peer in peers.items()})


def _table(title: str, costs: Mapping[str, Sequence[Cost]], picture: int) -> Table:
    wall = {name: median(cost.wall_s for cost in each) for name, each in costs.items()}
    rows = [
        [
            name,
            f"{1e3 * wall[name]:.1f} ms",
            f"{wall[name] / wall['httpx alone']:.2f}",
            f"{1e3 * median(cost.cpu_s for cost in each):.1f} ms",
            f"{median(cost.memory for cost in each) / picture:.2f}",
        ]
        for name, each in costs.items()
    ]
    return Table(title, ["", "Time", "Times httpx alone", "CPU", "Memory"], rows)
