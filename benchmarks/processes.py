"""One child process for each peer, so that nobody's memory or imports are another's."""

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

__all__ = ["Cost", "Peer", "answer_requests", "run"]


@dataclass(frozen=True)
class Cost:
    """What one piece of work took.

    Attributes:
        wall_s: Seconds on the clock.
        cpu_s: Seconds of all the process's threads.
        memory: The most bytes of memory that the process had above what it had when it was idle.
        held_s: The longest time for which the work let nothing else run, in seconds, where that is looked at.
    """

    wall_s: float
    cpu_s: float
    memory: int
    held_s: float = 0.0


class Peer:
    """A module of the benchmarks that runs as a process of its own, and works when asked. To be closed."""

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
        """Have it work once."""
        requests = cast(IO[str], self._process.stdin)
        requests.write("work\n")
        requests.flush()
        return Cost(**json.loads(self._line()))

    def _line(self) -> str:
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"A peer died: {self._process.args!r}")
        return line


def answer_requests(work: Callable[[], float | None]) -> None:
    """The child's side: work once for each line on standard input, and write down what it took.

    The work may give the longest time for which it let nothing else run.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # some peers print
    idle = _memory("VmRSS")
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        cpu, wall = _cpu_s(), time.perf_counter()
        held_s = work() or 0.0
        cost = Cost(time.perf_counter() - wall, _cpu_s() - cpu, _memory("VmHWM") - idle, held_s)
        print(json.dumps(asdict(cost)), file=answers, flush=True)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory(field: str) -> int:
    """A figure of /proc/self/status in bytes: ``VmRSS`` is what there is, ``VmHWM`` the most since it was reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def run(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """The seconds that a process takes from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - start
