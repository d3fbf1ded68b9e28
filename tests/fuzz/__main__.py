"""``python -m tests.fuzz``: new cases for ``FUZZ_S`` seconds (60); ``python -m tests.fuzz TARGET SEED`` repeats one."""

from __future__ import annotations

import os
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

# The tests' guard against the internet and their environment hold here as well.
from .. import conftest  # noqa: F401

# isort: split
from .targets import TARGETS, targets

_FOUND = Path("build/fuzz")
_MOST_FOUND = 20


def main(arguments: list[str]) -> int:
    if arguments:
        name, number = arguments
        with targets() as known:
            known[name].check(known[name].make(random.Random(f"{name} {number}")))
        print(f"== {name} {number} holds.")
        return 0
    seconds = float(os.environ.get("FUZZ_S") or 60)
    start = int(os.environ.get("FUZZ_SEED") or random.randrange(1 << 30))
    print(f"== Fuzzing for {seconds:g} s, FUZZ_SEED={start} ...", flush=True)
    run: Counter[str] = Counter()
    found: dict[str, str] = {}
    deadline, seed = time.monotonic() + seconds, start
    with targets() as known:
        while time.monotonic() < deadline and len(found) < _MOST_FOUND:
            for name in TARGETS:
                target = known[name]
                case = target.make(random.Random(f"{name} {seed}"))
                run[name] += 1
                try:
                    target.check(case)
                except Exception as error:
                    what = "".join([*traceback.format_tb(error.__traceback__)[-2:], f"{name}: {type(error).__name__}"])
                    if what not in found:
                        found[what] = f"{name} {seed}"
                        _FOUND.mkdir(parents=True, exist_ok=True)
                        (_FOUND / f"{name}-{seed}").write_bytes(case)
            seed += 1
    for what, which in found.items():
        print(f"== {which} (its bytes are in {_FOUND}):\n{what}\n")
    print(f"== {sum(run.values())} cases ({', '.join(f'{count} {name}' for name, count in run.items())}): ", end="")
    print(f"{len(found)} kinds of failure" if found else "all hold", flush=True)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
