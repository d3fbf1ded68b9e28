"""One child process for each peer, so that they share no memory and no imports."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self, cast

__all__ = ["Cost", "Peer", "run", "serve_requests"]


@dataclass(frozen=True)
class Cost:
    """What one piece of work cost.

    Attributes:
        wall_s: Elapsed seconds.
        cpu_s: CPU seconds of all threads of the process.
        memory: The peak memory of the process above its idle memory, in bytes.
        held_s: The longest time in which nothing else could run, in seconds; 0 if it is not measured.
    """

    wall_s: float
    cpu_s: float
    memory: int
    held_s: float = 0.0


class Peer:
    """A module of the benchmarks in a separate process, which works on request; use it as a context manager."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        cast(IO[str], self._process.stdin).close()
        self._process.wait(timeout=60)

    def work(self) -> Cost:
        """Let it work once."""
        requests = cast(IO[str], self._process.stdin)
        requests.write("work\n")
        requests.flush()
        return Cost(**json.loads(self._line()))

    def _line(self) -> str:
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"A peer died: {self._process.args!r}")
        return line


def serve_requests(work: Callable[[], float | None]) -> None:
    """The child's side: work once for each line on standard input, and print what it cost.

    The work may return the longest time in which nothing else could run.
    """
    replies, sys.stdout = sys.stdout, sys.stderr  # some peers print
    idle = _memory("VmRSS")
    print("ready", file=replies, flush=True)
    for _ in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        cpu, wall = _cpu_s(), time.perf_counter()
        held_s = work() or 0.0
        cost = Cost(time.perf_counter() - wall, _cpu_s() - cpu, _memory("VmHWM") - idle, held_s)
        print(json.dumps(asdict(cost)), file=replies, flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory(field: str) -> int:
    """A figure of /proc/self/status in bytes: ``VmRSS`` is the current memory, ``VmHWM`` the peak since its reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def run(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """The seconds from the start of a process to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start
