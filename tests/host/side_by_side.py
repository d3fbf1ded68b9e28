"""The same session on Invoke's built-in external models and on the plugin: ``python -m tests.host.side_by_side``.

Run from the repository's folder, it starts a real Invoke without the plugin and one with it, takes both through all
ROWS against a sandbox, and writes what it saw into the table of ``docs/compared.md``. The host tests run the rows on
the plugin again and hold its column.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from PIL import Image, ImageChops
from starlette.types import ASGIApp, Receive, Scope, Send

from invokeai_external.sandbox import create_app
from invokeai_external.version import VERSION

from ..support.servers import SandboxServer

# isort: split
# Found from here on: the module above puts its folder on the path.
from ..support.guard import CANARY
from . import environment, packing
from .graphs import PROMPT, identifier, panel_graph, workflow_graph
from .invoke import PROVIDERS, Invoke, Json, Picture, output_names, wait_for
from .sandbox import Sandbox

Look = Callable[[Invoke, Sandbox], str]

PAGE = packing.REPOSITORY / "docs" / "compared.md"
ROWS: dict[str, Look] = {}
"""The action as text, and the function that performs it and returns what a user sees; in the order of the table."""

_PART = re.compile(r"(?<=<!-- compared: begin -->\n).*?(?=<!-- compared: end -->)", re.DOTALL)
_LONGEST_QUOTE = 240
_SEED = 31415
_MARK = "x-test-key-was-in-the-address"
_MOST_S = 300.0


def row(title: str) -> Callable[[Look], Look]:
    """Add a function to the rows."""

    def add(look: Look) -> Look:
        ROWS[title] = look
        return look

    return add


# Images


@row("An image of 1024x1024 from a prompt, each provider")
def _words_to_picture(invoke: Invoke, sandbox: Sandbox) -> str:
    return _each(lambda model: _run(invoke, sandbox, panel_graph(model), _sizes), _gpt(invoke), _banana(invoke))


@row("Every size that the panel offers for Gemini 3.1 Flash Image")
def _offered_sizes(invoke: Invoke, sandbox: Sandbox) -> str:
    model = _flash(invoke)
    offered = model["capabilities"]["resolution_presets"]
    numbers = [
        invoke.enqueue(panel_graph(model, width=size["width"], height=size["height"], image_size=size["image_size"]))
        for size in offered
    ]
    came = [_record_of(invoke, invoke.ended(number, _MOST_S)) for number in numbers]
    exact = [
        record
        for record, size in zip(came, offered, strict=True)
        if record and (record["width"], record["height"]) == (size["width"], size["height"])
    ]
    images, refused = len(list(filter(None, came))), len(offered) - len(sandbox.calls())
    return f"of {len(offered)}: {images} images, {len(exact)} at the size shown, {refused} rejected before sending"


@row("Three images in one run, OpenAI")
def _three_of_openai(invoke: Invoke, sandbox: Sandbox) -> str:
    return _run(invoke, sandbox, workflow_graph(_gpt(invoke), num_images=3), _count)


@row("Three images in one run, Gemini")
def _three_of_gemini(invoke: Invoke, sandbox: Sandbox) -> str:
    return _run(invoke, sandbox, workflow_graph(_banana(invoke), num_images=3), _count)


@row("A transparent background, OpenAI")
def _transparent(invoke: Invoke, sandbox: Sandbox) -> str:
    return _run(invoke, sandbox, workflow_graph(_gpt(invoke), background="transparent"), _alpha)


@row("Two reference images, each provider")
def _references(invoke: Invoke, sandbox: Sandbox) -> str:
    fields = [{"image_name": invoke.upload(photo)} for photo in (_photo(), _photo().rotate(180))]

    def sent(model: Json) -> str:
        sandbox.clear()
        graph = workflow_graph(model, reference_images=fields)
        return _run(invoke, sandbox, graph, lambda _: f"{str(sandbox.calls()[0]).count('sha256')} sent")

    return _each(sent, _gpt(invoke), _banana(invoke))


# Options


@row("A seed, Gemini")
def _seed(invoke: Invoke, sandbox: Sandbox) -> str:
    def described(pictures: list[Picture]) -> str:
        sent = sandbox.calls()[0]["json"]["generationConfig"].get("seed") == _SEED
        recorded = _SEED in [value for _, value in _leaves(pictures[0].metadata)]
        return f"{'sent' if sent else 'not sent'}, {'recorded' if recorded else 'not recorded'}"

    return _run(invoke, sandbox, workflow_graph(_banana(invoke), seed=_SEED), described)


@row("Thinking level *high*, Gemini 3.1 Flash Image")
def _thinking_level(invoke: Invoke, sandbox: Sandbox) -> str:
    return _run(invoke, sandbox, workflow_graph(_flash(invoke), thinking_level="high"), lambda _: "accepted")


# Edits


@row("An edit of a 1000x700 photo, with the panel at 1024x1024, OpenAI")
def _edit_with_openai(invoke: Invoke, sandbox: Sandbox) -> str:
    return _run(invoke, sandbox, _edit(invoke, _gpt(invoke), mode="img2img"), _sizes)


@row("An edit of a 1000x700 photo, with the panel at 1024x1024, Gemini")
def _edit_with_gemini(invoke: Invoke, sandbox: Sandbox) -> str:
    return _run(invoke, sandbox, _edit(invoke, _banana(invoke), mode="img2img"), _sizes)


@row("The same edit with a mask, where OpenAI also changes a little outside the mask")
def _inpaint_with_openai(invoke: Invoke, sandbox: Sandbox) -> str:
    return _inpaint(invoke, sandbox, _gpt(invoke))


@row("The same edit with a mask, where Gemini also changes a little outside the mask")
def _inpaint_with_gemini(invoke: Invoke, sandbox: Sandbox) -> str:
    return _inpaint(invoke, sandbox, _banana(invoke))


def _inpaint(invoke: Invoke, sandbox: Sandbox, model: Json) -> str:
    sandbox.order(model["provider_id"], "sloppy_mask")
    hole = _hole()
    graph = _edit(invoke, model, mode="inpaint", mask_image={"image_name": invoke.upload(hole, intermediate=True)})

    def described(pictures: list[Picture]) -> str:
        image = pictures[0].image.convert("RGB")
        if image.size != hole.size:
            return f"{_sizes(pictures)}: not the photo's size"
        change, nothing = ImageChops.difference(image, _photo()), Image.new("RGB", hole.size)
        outside = Image.composite(change, nothing, hole).getbbox()
        inside = Image.composite(nothing, change, hole).getbbox()
        places = [place for place, changed in (("inside the mask", inside), ("outside it", outside)) if changed]
        return f"{_sizes(pictures)}, changed {' and '.join(places) or 'nowhere'}"

    return _run(invoke, sandbox, graph, described)


def _edit(invoke: Invoke, model: Json, **fields: Any) -> Json:
    """An edit of the photo as the Canvas sends it, with the panel's size."""
    photo = {"image_name": invoke.upload(_photo(), intermediate=True)}
    return panel_graph(model, init_image=photo, width=1024, height=1024, **fields)


# What the gallery keeps


@row("Metadata of a run in the Generate tab, Gemini")
def _metadata_of_the_panel(invoke: Invoke, sandbox: Sandbox) -> str:
    model = _banana(invoke)
    graph = panel_graph(model, seed=_SEED, width=1344, height=768)
    return _run(invoke, sandbox, graph, lambda pictures: _recallable(pictures[0].metadata, model))


@row("Metadata of a run in the workflow editor, Gemini")
def _metadata_of_a_workflow(invoke: Invoke, sandbox: Sandbox) -> str:
    model = _banana(invoke)
    graph = workflow_graph(model, seed=_SEED, width=1344, height=768)
    return _run(invoke, sandbox, graph, lambda pictures: _recallable(pictures[0].metadata, model))


@row("The cost of an image, OpenAI")
def _cost(invoke: Invoke, sandbox: Sandbox) -> str:
    def described(pictures: list[Picture]) -> str:
        costs = [value for name, value in _leaves(pictures[0].metadata) if "cost" in name and value is not None]
        return "in the metadata" if costs else "not recorded"

    return _run(invoke, sandbox, workflow_graph(_gpt(invoke)), described)


@row("The same transparent image again, with *use cache*, OpenAI")
def _cache(invoke: Invoke, sandbox: Sandbox) -> str:
    graph = workflow_graph(_gpt(invoke), prompt="a cached fox", background="transparent", use_cache=True)
    first = invoke.run(graph)

    def described(pictures: list[Picture]) -> str:
        calls = "no second call" if len(sandbox.calls()) == 1 else "a second call"
        entry = "a new entry" if pictures[0].name != first[0].name else "the old entry"
        metadata = "with metadata" if pictures[0].metadata else "without metadata"
        return f"{calls}, {entry} {metadata}, {_alpha(pictures)}"

    return _run(invoke, sandbox, graph, described)


# Failures


@row("A prompt that Gemini blocks")
def _blocked(invoke: Invoke, sandbox: Sandbox) -> str:
    sandbox.order("gemini", "blocked_prompt")
    return _run(invoke, sandbox, workflow_graph(_banana(invoke)), _count)


@row("No quota (Gemini's `limit: 0`)")
def _no_quota(invoke: Invoke, sandbox: Sandbox) -> str:
    sandbox.order("gemini", "quota", times=10, limit="zero")
    return _timed(lambda: _run(invoke, sandbox, workflow_graph(_banana(invoke)), _count), 5)


@row("A wrong key, Gemini")
def _wrong_key(invoke: Invoke, sandbox: Sandbox) -> str:
    invoke.set_key("gemini", f"{CANARY}-wrong")
    try:
        return _run(invoke, sandbox, workflow_graph(_banana(invoke)), _count)
    finally:
        invoke.set_key("gemini")


@row("How the key is sent to Gemini")
def _place_of_the_key(invoke: Invoke, sandbox: Sandbox) -> str:
    def described(_: list[Picture]) -> str:
        call = sandbox.calls()[0]
        return "in the URL" if _MARK in call["headers"] else "in a header"

    return _run(invoke, sandbox, workflow_graph(_banana(invoke)), described)


@row("A base URL where no server listens, Gemini")
def _unreachable(invoke: Invoke, sandbox: Sandbox) -> str:
    _set_address(invoke, "gemini", "http://127.0.0.1:9")
    try:
        item = invoke.ended(invoke.enqueue(workflow_graph(_banana(invoke))), _MOST_S)
    finally:
        _set_address(invoke, "gemini", f"{sandbox.url}/gemini")
    shown = CANARY in json.dumps(item) or CANARY in invoke.log_text()
    return f"{_quoted(item, sandbox)}; {'the key is in it' if shown else 'no key in it or in the log'}"


@row("One response from an overloaded provider (503), OpenAI")
def _overloaded(invoke: Invoke, sandbox: Sandbox) -> str:
    sandbox.order("openai", "server_error", status=503)
    return _run(invoke, sandbox, workflow_graph(_gpt(invoke)), lambda _: f"1 image, on call {len(sandbox.calls())}")


@row("One rate limit (429) with `Retry-After: 1`, OpenAI")
def _rate_limited(invoke: Invoke, sandbox: Sandbox) -> str:
    sandbox.order("openai", "rate_limited", form="retry-after-seconds", seconds=1)
    return _timed(lambda: _run(invoke, sandbox, workflow_graph(_gpt(invoke)), _count), 5)


@row("One rate limit (429) with Gemini's `RetryInfo` of 1 s")
def _rate_limited_by_gemini(invoke: Invoke, sandbox: Sandbox) -> str:
    sandbox.order("gemini", "rate_limited", form="retry-info", seconds=1)
    return _timed(lambda: _run(invoke, sandbox, workflow_graph(_banana(invoke)), _count), 5)


@row("A 30-second call cancelled while the next run waits, OpenAI")
def _cancelled(invoke: Invoke, sandbox: Sandbox) -> str:
    sandbox.order("openai", "slow", seconds=30)
    number = invoke.enqueue(workflow_graph(_gpt(invoke)))
    behind = invoke.enqueue(workflow_graph(_gpt(invoke)))
    wait_for(sandbox.calls)

    def freed() -> str:
        invoke.cancel(number)
        wait_for(lambda: invoke.item(behind)["status"] != "pending", _MOST_S)
        return "the next run starts"

    # Half a second on a machine that is not busy; the tests of failures hold it to one.
    described = _timed(freed, 2)
    invoke.ended(behind)
    return described


# Base URLs and models


@row("A base URL that ends in `/v1`, OpenAI")
def _versioned_address(invoke: Invoke, sandbox: Sandbox) -> str:
    _set_address(invoke, "openai", f"{sandbox.url}/openai/v1")
    try:
        return _run(invoke, sandbox, workflow_graph(_gpt(invoke)), _count)
    finally:
        _set_address(invoke, "openai", f"{sandbox.url}/openai")


@row("An image returned as a URL, OpenAI")
def _url_result(invoke: Invoke, sandbox: Sandbox) -> str:
    sandbox.order("openai", "url_result")
    return _run(invoke, sandbox, workflow_graph(_gpt(invoke)), _count)


@row("A dated model, installed by its id (`gpt-image-2-2026-04-21`)")
def _dated_model(invoke: Invoke, sandbox: Sandbox) -> str:
    model = invoke.install_model("openai/gpt-image-2-2026-04-21")
    try:
        return _run(invoke, sandbox, workflow_graph(model), _count)
    finally:
        invoke.delete_model(model["key"])


@row("A model's capabilities edited over Invoke's API, since its model manager cannot save them")
def _edited_abilities(invoke: Invoke, sandbox: Sandbox) -> str:
    model = _gpt(invoke)
    path, before = f"/v2/models/i/{model['key']}", model["capabilities"]
    invoke.send("PATCH", path, json={"capabilities": {**before, "max_reference_images": 3}})
    shown = _gpt(invoke)["capabilities"]["max_reference_images"]
    invoke.send("PATCH", path, json={"capabilities": before})
    return "the edit shows" if shown == 3 else "the edit does not show"


# What the rows share


def _gpt(invoke: Invoke) -> Json:
    return invoke.model("openai/gpt-image-2")


def _banana(invoke: Invoke) -> Json:
    return invoke.model("gemini/gemini-2.5-flash-image")


def _flash(invoke: Invoke) -> Json:
    """Gemini 3.1 Flash Image; the built-in has it as it was called as a preview."""
    names = ("gemini-3.1-flash-image", "gemini-3.1-flash-image-preview")
    return next(model for model in invoke.models("gemini") if model["provider_model_id"] in names)


def _photo() -> Image.Image:
    """An image of a size that no model makes."""
    ramp = Image.linear_gradient("L")
    bands = (ramp, ramp.rotate(90), Image.radial_gradient("L"))
    return Image.merge("RGB", [band.resize((1000, 700)) for band in bands])


def _hole() -> Image.Image:
    """A mask for the photo, as Invoke makes it: black, which means change, in a box."""
    mask = Image.new("L", (1000, 700), 255)
    mask.paste(0, (200, 100, 600, 500))
    return mask


def _run(invoke: Invoke, sandbox: Sandbox, graph: Json, tell: Callable[[list[Picture]], str]) -> str:
    """Run a graph and describe its images, or return what its queue item says."""
    item = invoke.ended(invoke.enqueue(graph), _MOST_S)
    if item["status"] != "completed":
        return f"fails: {_quoted(item, sandbox)}"
    return tell([invoke.picture(name) for name in output_names(item)])


def _each(tell: Callable[[Json], str], gpt: Json, banana: Json) -> str:
    return f"OpenAI: {tell(gpt)}; Gemini: {tell(banana)}"


def _timed(act: Callable[[], str], bound_s: float) -> str:
    """The result of an action and how long it took: within the bound, or in seconds, rounded to tens above ten."""
    begun = time.monotonic()
    described = act()
    took = time.monotonic() - begun
    when = f"within {bound_s:g} s" if took < bound_s else f"after about {round(took, -1 if took > 10 else 0):.0f} s"
    return f"{when}, {described}"


def _quoted(item: Json, sandbox: Sandbox) -> str:
    """The message of a failed queue item, on one line, shortened, and with KEY in place of a key."""
    words = " ".join(str(item["error_message"]).split())
    words = words.replace(CANARY, "KEY").replace(sandbox.url, "http://sandbox").replace("`", "'")
    return f"`{words if len(words) <= _LONGEST_QUOTE else words[:_LONGEST_QUOTE] + ' ...'}`"


def _record_of(invoke: Invoke, item: Json) -> Json | None:
    names = list(output_names(item)) if item["status"] == "completed" else []
    return invoke.get(f"/v1/images/i/{names[0]}") if names else None


def _sizes(pictures: list[Picture]) -> str:
    return ", ".join(f"{picture.image.width}x{picture.image.height}" for picture in pictures)


def _count(pictures: list[Picture]) -> str:
    return "1 image" if len(pictures) == 1 else f"{len(pictures)} images"


def _alpha(pictures: list[Picture]) -> str:
    image = pictures[0].image
    clear = image.mode == "RGBA" and image.getchannel("A").getextrema()[0] == 0
    return "RGBA, alpha kept" if clear else f"{image.mode}, alpha lost"


def _recallable(metadata: Json, model: Json) -> str:
    """Where prompt, model, seed and size are: under Invoke's own names, under others, or nowhere."""
    read = {
        "prompt": metadata.get("positive_prompt") == PROMPT,
        "model": metadata.get("model") == identifier(model),
        "seed": metadata.get("seed") == _SEED,
        "size": (metadata.get("width"), metadata.get("height")) == (1344, 768),
    }
    values = [value for _, value in _leaves(metadata)]
    kept = {
        "prompt": PROMPT in values,
        "model": model["provider_model_id"] in values,
        "seed": _SEED in values,
        "size": 1344 in values and 768 in values,
    }
    parts = {
        "under Invoke's names": [name for name in read if read[name]],
        "under other names": [name for name in read if kept[name] and not read[name]],
        "missing": [name for name in read if not kept[name] and not read[name]],
    }
    return "; ".join(f"{where}: {', '.join(names)}" for where, names in parts.items() if names)


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """The leaves of a JSON value, each with its name."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, key)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(below, name)
    else:
        yield name, value


def _set_address(invoke: Invoke, provider: str, url: str) -> None:
    invoke.send("POST", f"/v1/app/external_providers/config/{provider}", json={"base_url": url})


# The session and the table


class _TakesKeysInAddresses:
    """Accepts a key in the URL like one in the header, as Gemini does; only the sandbox rejects it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = parse_qs(scope.get("query_string", b"")).get(b"key")
        if key:
            headers = [*scope["headers"], (b"x-goog-api-key", key[0]), (_MARK.encode(), b"1")]
            scope = {**scope, "query_string": b"", "headers": headers}
        await self._app(scope, receive, send)


def make_ready(invoke: Invoke, sandbox: Sandbox) -> None:
    """Start it, set keys, and install all starter models, as the External Providers page does."""
    # With a version after it the built-in reaches nothing of OpenAI's, which is a separate row.
    invoke.base_urls["openai"] = f"{sandbox.url}/openai"
    invoke.start()
    for provider in PROVIDERS:
        invoke.set_key(provider)
        for entry in _starter_models(invoke, provider):
            config = {name: entry[name] for name in ("name", "base", "type", "description", "format")}
            if not entry["is_installed"]:
                invoke.install_model(entry["source"].removeprefix("external://"), config)
    invoke.settled_models()


def _starter_models(invoke: Invoke, provider: str) -> list[Json]:
    return wait_for(lambda: invoke.starter_models(provider))


def seen(invoke: Invoke, sandbox: Sandbox) -> dict[str, str]:
    """All rows, by title; progress goes to standard error."""
    found = {}
    for title, look in ROWS.items():
        sandbox.clear()
        found[title] = look(invoke, sandbox)
        print(f"   {title}: {found[title]}", file=sys.stderr, flush=True)
    return found


def cell(text: str) -> str:
    """A text in the form of the table."""
    return text.replace("|", "\\|")


def documented() -> dict[str, str]:
    """The plugin's column of the table, by title."""
    part = _PART.search(PAGE.read_text(encoding="utf-8"))
    assert part is not None
    rows = [re.split(r"(?<!\\) ?\| ?", line) for line in part[0].splitlines() if line.startswith("| ")]
    return {title: ours for _, title, _, ours, _ in rows[2:]}


def table(built_in: dict[str, str], plugin: dict[str, str], version: str) -> str:
    lines = [
        f"Made on {datetime.date.today()} with InvokeAI {version} and invokeai_external {VERSION}.",
        "",
        "| What was done | Built-in | Plugin |",
        "| --- | --- | --- |",
        *(f"| {title} | {cell(built_in[title])} | {cell(plugin[title])} |" for title in ROWS),
    ]
    return "\n" + "\n".join(lines) + "\n\n"


def main() -> None:
    python = environment.python_of(os.environ)
    found: list[dict[str, str]] = []
    # The built-in lists models that were retired since; they answer here, so that it is seen at its best.
    app = _TakesKeysInAddresses(create_app(serve_retired=True))
    with SandboxServer(app) as server, tempfile.TemporaryDirectory() as folder:
        sandbox = Sandbox(server.url)
        for name in ("built-in", "plugin"):
            print(f"== The {name} ...", file=sys.stderr, flush=True)
            invoke = Invoke(python, Path(folder) / name / "root", sandbox.url)
            if name == "plugin":
                packing.copy_to(invoke.root / "nodes")
            try:
                make_ready(invoke, sandbox)
                version = invoke.get("/v1/app/version")["version"]
                found.append(seen(invoke, sandbox))
            finally:
                # Stopping it in good order holds that no key was logged, which the built-in does.
                invoke.kill()
                invoke.close()
        sandbox.close()
    text = PAGE.read_text(encoding="utf-8")
    new = table(found[0], found[1], version)
    PAGE.write_text(_PART.sub(lambda _: new, text), encoding="utf-8")


if __name__ == "__main__":
    main()
