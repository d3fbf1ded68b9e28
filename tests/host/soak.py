"""Many runs with random faults, cancels, pauses and clears in a real Invoke: ``python -m tests.host.soak [ITEMS]``.

Run from the repository's folder. The conditions at the end are in ``Soaked.wrong``. ``SOAK_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from invokeai_external.errors import ContentBlockedError, QuotaError
from invokeai_external.root_folder import USER_FILE

from ..support.reckoning import reckon, rows_in
from ..support.servers import SandboxServer

# isort: split
# Found from here on: the module above puts its folder on the path.
from . import environment, packing
from .graphs import panel_graph
from .invoke import PROVIDERS, Invoke, Json, output_names, wait_for
from .sandbox import Sandbox

_LIMITS = """\
settings: {record_prompts: true}
budgets:
  total: {day_usd: 1000, month_usd: 1000}
  providers: {openai: {day_usd: 1000}, gemini: {day_usd: 1000}}
  models: {openai/gpt-image-2.5-flare: {day_usd: 1000}}
"""
"""Limits that allow everything, so that each call is checked; calls are found by their prompts."""

_MODELS = {"openai": "openai/gpt-image-2.5-flare", "gemini": "gemini/gemini-nano-banana-2.1"}
_ENDED = ("completed", "failed", "canceled")
_REFUSED = (ContentBlockedError.__name__, QuotaError.__name__)
"""The types of the ordered failures; all others are retried until they pass."""
_MOST_S = 600.0
_GROWN_THREADS = 8
"""The thread pools of anyio and asyncio may keep some threads."""
_GROWN_BYTES = 200 << 20
"""Invoke caches its last ten images, and the allocator keeps freed memory."""


@dataclass
class Soaked:
    """The results of all runs.

    Attributes:
        ended: How many items ended in each way; ``deleted`` if a clear removed them.
        calls: How many calls ended in each way: their status, or ``abandoned``.
        images: How many images are in the gallery.
        kept: How many results are in the cache.
        wrong: What is wrong, one sentence each.
    """

    ended: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    images: int = 0
    kept: int = 0
    wrong: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"items: {dict(self.ended)}; calls: {dict(self.calls)}; images in the gallery: {self.images}; "
            f"kept on disk: {self.kept}; wrong: {self.wrong or 'nothing'}"
        )


def soak(invoke: Invoke, sandbox: Sandbox, count: int, dice: random.Random) -> Soaked:
    """Queue runs of one image each, disturb them, and count their results."""
    kept_before = _kept(invoke)
    # Growth only in the first runs does not count as a leak.
    for model in _MODELS.values():
        invoke.run(panel_graph(invoke.model(model), prompt=f"before {dice.random()}"))
    before = set(invoke.gallery())
    sandbox.clear()
    threads, memory = invoke.threads, invoke.memory
    items: dict[int, str] = {}
    """Their prompts by their numbers."""
    while len(items) < count:
        provider = dice.choice(PROVIDERS)
        _order(sandbox, provider, dice)
        graph = panel_graph(invoke.model(_MODELS[provider]), seed=dice.randrange(1 << 30))
        prompts = [f"fox {len(items) + number}" for number in range(min(dice.randint(1, 5), count - len(items)))]
        data = [[{"node_path": "prompt", "field_name": "value", "items": prompts}]]
        body = {"batch": {"graph": graph, "data": data}}
        numbers = invoke.send("POST", "/v1/queue/default/enqueue_batch", json=body)["item_ids"]
        items |= dict(zip(sorted(numbers), prompts, strict=True))
        time.sleep(dice.uniform(0, 1.0))
        _disturb(invoke, list(items), dice)
    invoke.send("PUT", "/v1/queue/default/processor/resume")
    found = [wait_for(lambda number=number: _end_of(invoke, number), _MOST_S) for number in items]  # type: ignore[misc]
    wait_for(lambda: sandbox.in_flight() == 0, 30)
    soaked = Soaked(Counter(item["status"] for item in found), Counter(str(c["outcome"]) for c in sandbox.calls()))
    soaked.images = len(set(invoke.gallery()) - before)
    soaked.kept = _kept(invoke) - kept_before
    _judge(soaked, invoke, sandbox, found, items)
    wait_for(lambda: invoke.threads <= threads + _GROWN_THREADS or None, 30)
    if invoke.memory > memory + _GROWN_BYTES:
        soaked.wrong.append(f"memory has grown by {(invoke.memory - memory) >> 20} MB")
    return soaked


def _order(sandbox: Sandbox, provider: str, dice: random.Random) -> None:
    fault = dice.choice(("", "", "slow", "slow", "rate_limited", "unavailable", "refused"))
    if fault == "slow":
        sandbox.order(provider, "slow", times=dice.randint(1, 4), seconds=dice.uniform(0.5, 3))
    elif fault == "rate_limited":
        if provider == "openai":
            sandbox.order(provider, "rate_limited", form="retry-after-ms", seconds=0.3)
        else:
            sandbox.order(provider, "rate_limited", form="retry-info", delay="300ms")
    elif fault == "unavailable":
        sandbox.order(provider, "server_error", status=503)
    elif fault == "refused":
        sandbox.order(provider, "moderation" if provider == "openai" else "quota")


def _disturb(invoke: Invoke, numbers: list[int], dice: random.Random) -> None:
    what = dice.choice(("", "", "cancel", "cancel", "cancel", "delete", "pause", "resume", "cancel others", "clear"))
    queue = "/v1/queue/default"
    if what in ("cancel", "delete"):
        path = f"{queue}/i/{dice.choice(numbers[-6:])}"
        invoke.request("PUT", f"{path}/cancel") if what == "cancel" else invoke.request("DELETE", path)
    elif what in ("pause", "resume"):
        invoke.send("PUT", f"{queue}/processor/{what}")
    # A clear takes out what has ended as well; with many of either there would be little left to look at.
    elif what == "cancel others" and dice.random() < 0.3:
        invoke.send("PUT", f"{queue}/cancel_all_except_current")
    elif what == "clear" and dice.random() < 0.1:
        invoke.send("PUT", f"{queue}/clear")


def _end_of(invoke: Invoke, number: int) -> Json | None:
    try:
        item = invoke.item(number)
    except httpx.HTTPStatusError:
        return {"status": "deleted"}
    return item if item["status"] in _ENDED else None


def _kept(invoke: Invoke) -> int:
    folder = invoke.root / "invokeai_external_kept"
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _judge(soaked: Soaked, invoke: Invoke, sandbox: Sandbox, found: list[Json], prompts: dict[int, str]) -> None:
    """Check that every item has a valid state and every call is accounted for."""
    made = Counter(
        str(call["json"].get("prompt") or call["json"]["contents"][0]["parts"][-1]["text"])
        for call in sandbox.calls()
        if call["outcome"] == 200
    )
    soaked.wrong += [f"{prompt} was paid for {times} times" for prompt, times in made.items() if times > 1]
    for item in found:
        if item["status"] == "completed":
            shown = [invoke.picture(name).metadata["positive_prompt"] for name in output_names(item)]
            if shown != [prompts[item["item_id"]]]:
                soaked.wrong.append(f"item {item['item_id']} has images of {shown}")
        if item["status"] == "failed" and item["error_type"] not in _REFUSED:
            soaked.wrong.append(f"item {item['item_id']} failed: {item['error_message']}")
    # Of a call that was answered in the moment of its cancel, the image may be gone with it.
    given_up = soaked.ended["canceled"] + soaked.ended["deleted"]
    lost = soaked.calls["200"] - soaked.images - soaked.kept
    if not 0 <= lost <= 3 + given_up // 20:
        soaked.wrong.append(f"{lost} answers went neither into the gallery nor to disk, of {given_up} runs given up")
    refused = soaked.calls["400"] + soaked.calls["429"]
    if soaked.ended["failed"] > refused:
        soaked.wrong.append(f"{soaked.ended['failed']} items failed over {refused} refusals")
    if half := [path.name for path in invoke.root.glob("invokeai_external_kept/.*")]:
        soaked.wrong.append(f"half written: {half}")


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(os.environ.get("SOAK_SEED") or random.randrange(1 << 30))
    print(f"== {count} runs, SOAK_SEED={seed} ...", flush=True)
    with SandboxServer() as server, tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(server.url)
        invoke = Invoke(environment.python_of(os.environ), Path(folder) / "root", sandbox.url, PROVIDERS)
        packing.copy_to(invoke.root / "nodes")
        (invoke.root / USER_FILE).write_text(_LIMITS, encoding="utf-8")
        try:
            invoke.start_with_models()
            soaked = soak(invoke, sandbox, count, random.Random(seed))
            # The first ones are not in the sandbox's log.
            rows = [row for row in rows_in(invoke.root) if (row.call.prompt or "").startswith("fox")]
            soaked.wrong += reckon(rows, sandbox.calls()).wrong
            print(f"== {soaked.summary()}", flush=True)
            invoke.stop()
        finally:
            invoke.close()
            sandbox.close()
    return bool(soaked.wrong)


if __name__ == "__main__":
    sys.exit(main())
