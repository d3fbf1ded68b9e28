"""What is fuzzed: how a case is made of dice, and what must hold for every case."""

from __future__ import annotations

import asyncio
import io
import json
import math
import shlex
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import SecretStr

from invokeai_external.cli.entry_point import main
from invokeai_external.errors import ExternalError
from invokeai_external.images import metadata_files
from invokeai_external.images.compositing import Canvas, Decoded
from invokeai_external.images.errors import ImageError
from invokeai_external.images.inputs import prepare_input, size_of
from invokeai_external.images.inspect import inspect_image
from invokeai_external.images.painted_masks import mask_from_black, mask_from_file, mask_pixels
from invokeai_external.images.pixels import decoded, rgb_thumbnail, verify_pixels
from invokeai_external.images.provider_masks import alpha_mask
from invokeai_external.images.text_chunks import embed_text, read_text
from invokeai_external.metadata_keys import KEYWORD
from invokeai_external.providers.registry import Registry
from invokeai_external.request import GenerationRequest
from invokeai_external.result import GenerationResult
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Credentials, Limits, Settings, load_settings
from invokeai_external.sizing import Size

from . import mutations, seeds

__all__ = ["TARGETS", "Target", "targets"]

_KEY = "sk-fuzz-0123456789abcdef"
"""The key of all calls: nothing that comes out may hold it, whatever a server sends back."""

_IMAGES = 2
"""How many images each call asks for."""

_CALLS_OF_A_SERVICE = 25
"""A Service remembers who asked to wait and who refused streams, and would send less and less."""

_LIMITS = Limits(
    max_attempts=1, max_wait_s=0, timeout_s=1, max_response_bytes=4_000_000, max_image_pixels=1_000_000, previews=0
)


class Target(NamedTuple):
    """One thing that is fuzzed.

    Attributes:
        name: Its name; cases that once failed are in ``examples/NAME/``.
        make: Gives the case of some dice.
        check: Raises for a case that ends as it must not: any error but those that are meant, or a broken promise.
    """

    name: str
    make: Callable[[Random], bytes]
    check: Callable[[bytes], None]


# What servers send


def _answer_of(bodies: tuple[Any, ...], dice: Random) -> bytes:
    value = dice.choice(bodies if dice.random() < 0.75 else seeds.BAD_ANSWERS)
    if dice.random() < 0.8:
        value = mutations.spoilt_json(value, dice)
    body = mutations.dumped(value)
    if dice.random() < 0.3:
        body = mutations.spoilt_bytes(body, dice)
    if dice.random() < 0.1:
        body = dice.choice((b" \r\n", b"\xef\xbb\xbf", b"\n" * 900)) + body
    if dice.random() < 0.1:
        body = body.replace(b"STOP", _KEY.encode())
    return mutations.response(body, dice.choice((b"application/json", b"application/json", b"text/plain")), dice)


def _openai_events() -> list[Any]:
    done = seeds.openai_answers()[0]
    image = done["data"][0]["b64_json"]
    partial = {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": image}
    return [partial, {"type": "image_generation.completed", "b64_json": image, "usage": done["usage"]}]


def _gemini_events(dice: Random) -> list[Any]:
    whole = dice.choice(seeds.gemini_answers()[:4])
    candidate = whole["candidates"][0]
    parts = [{"candidates": [{"content": {"parts": [part]}}]} for part in candidate["content"]["parts"]]
    return [*parts, {"candidates": [{"finishReason": "STOP"}], "usageMetadata": whole["usageMetadata"]}]


def _stream_of(events: list[Any], dice: Random) -> bytes:
    end = dice.choice((b"\n\n", b"\r\n\r\n", b"\r\r"))
    lines = []
    for event in events:
        if dice.random() < 0.4:
            event = mutations.spoilt_json(event, dice)
        lines.append(b"data: " + mutations.dumped(event) + end)
        if dice.random() < 0.3:
            lines.append(dice.choice((b": ping", b"data:", b"data: keep-alive", b"event: x", b"retry: 9")) + end)
    if dice.random() < 0.3:
        lines.append(b"data: [DONE]" + end)
    if dice.random() < 0.1:
        lines.append(mutations.dumped(dice.choice(seeds.BAD_ANSWERS)))
    if dice.random() < 0.1:
        dice.shuffle(lines)
    body = b"".join(lines)
    if dice.random() < 0.3:
        body = mutations.spoilt_bytes(body, dice)
    return mutations.response(
        body, dice.choice((b"text/event-stream", b"text/event-stream", b"application/json")), dice
    )


class _Server:
    """A server that gives the bytes it was handed, and a Service that calls it, in one event loop.

    An image that a response names by URL is given as a file that is whole.
    """

    def __init__(self, portal: BlockingPortal, folder: Path) -> None:
        self._portal = portal
        self._folder = folder
        self._case = b""
        self._calls = 0
        self._service: Service | None = None
        self._server = portal.call(self._listen)
        self._address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            await reader.readexactly(length)
            if head.startswith(b"GET"):
                file = seeds.image_files()[0]
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(file) + file)
            else:
                step = 1 + zlib.crc32(self._case) % (len(self._case) + 1)
                for at in range(0, len(self._case), step):
                    writer.write(self._case[at : at + step])
                    await writer.drain()
            writer.close()

    def call(self, case: bytes, provider: str, *, previews: int) -> None:
        self._case = case
        self._portal.call(self._call, provider, previews)

    async def _call(self, provider: str, previews: int) -> None:
        if self._calls % _CALLS_OF_A_SERVICE == 0:
            await self._close_service()
            self._service = Service(self._settings())
        self._calls += 1
        assert self._service is not None
        model = {"openai": "gpt-image-2.5-flare", "gemini": "gemini-nano-banana-2.1"}[provider]
        # A separate snapshot: a wait that one case asks for is not the next one's.
        request = GenerationRequest(
            model=f"{provider}/{model}-{self._calls}",
            prompt="a red fox",
            n=1 if previews else _IMAGES,
            previews=previews,
        )
        try:
            result = await self._service.generate(request)
        except ExternalError as error:
            _check_error(error)
        else:
            _check_result(result, most=request.n)

    def _settings(self) -> Settings:
        keys = {
            provider: Credentials(SecretStr(_KEY), f"{self._address}/{path}", "the fuzzer")
            for provider, path in (("openai", "v1"), ("gemini", "v1beta"))
        }
        return Settings(self._folder, keys, _LIMITS)

    async def _close_service(self) -> None:
        if self._service:
            await self._service.aclose()

    async def close(self) -> None:
        await self._close_service()
        self._server.close()


def _check_error(error: ExternalError) -> None:
    assert error.message
    assert error.message.strip()
    for words in (error.message, error.hint, error.request_id):
        assert _KEY not in (words or "")
        (words or "").encode()


def _check_result(result: GenerationResult, *, most: int) -> None:
    assert 1 <= len(result.images) <= most
    assert result.cost_usd is None or (math.isfinite(result.cost_usd) and result.cost_usd >= 0)
    is_kept = any(notice.code == "kept_as_received" for notice in result.notices)
    for image in result.images:
        assert is_kept or inspect_image(image.data, max_pixels=_LIMITS.max_image_pixels).size.pixels
        text = json.dumps(dict(image.metadata), allow_nan=False)
        assert _KEY not in text
        with suppress(ImageError):
            assert metadata_files.read(metadata_files.embed(image.data, image.metadata)) is not None
    for notice in result.notices:
        assert _KEY not in notice.message
        notice.message.encode()
    for error in result.errors:
        _check_error(error)


# Files


def _check_image(case: bytes) -> None:
    def tried(work: Callable[[], object]) -> None:
        with suppress(ImageError):
            work()

    good = seeds.image_files()[0]
    tried(lambda: inspect_image(case, max_pixels=1_000_000))
    tried(lambda: prepare_input(case, max_bytes=20_000))
    tried(lambda: size_of(case))
    tried(lambda: read_text(case))
    tried(lambda: embed_text(case, {"invokeai_metadata": "{}", "Title": "ü"}))
    tried(lambda: mask_from_file(case))
    tried(lambda: mask_from_black(case))
    tried(lambda: rgb_thumbnail(case, longest_px=16))
    tried(lambda: verify_pixels(case))
    mask = seeds.image_files()[3]
    for original, result, area in ((good, case, mask), (case, good, mask), (good, good, case)):
        tried(partial(_composited, original, result, area))
    tried(lambda: alpha_mask(mask_pixels(case, "red"), Size(8, 8), max_bytes=4000))
    tried(lambda: metadata_files.read(case))


def _make_image(dice: Random) -> bytes:
    return mutations.spoilt_bytes(dice.choice(seeds.image_files()), dice)


def _make_metadata(dice: Random) -> bytes:
    value = dice.choice(seeds.METADATA)
    for _ in range(dice.randint(0, 2)):
        value = mutations.spoilt_json(value, dice)
    text = mutations.dumped(value)
    return mutations.spoilt_bytes(text, dice) if dice.random() < 0.3 else text


def _composited(original: bytes, result: bytes, mask: bytes) -> bytes:
    return Canvas(Decoded(decoded(original), mask_pixels(mask, "white")), feather=2).with_edit(result)


def _check_metadata(case: bytes) -> None:
    """An image with these settings in it is read and recalled, or refused in a sentence; nothing runs or shows wild."""
    try:
        file = embed_text(seeds.image_files()[0], {KEYWORD: case.decode("utf-8")})
    except (ImageError, UnicodeDecodeError):
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(file)
        for arguments in ([], ["--json"]):
            code, shown = _printed(lambda arguments=arguments: main(["recall", str(path), *arguments]))  # type: ignore[misc]
            assert code in (0, 2)
            assert all(sign.isprintable() or sign == "\n" for sign in shown)
            if code == 0 and not arguments:
                words = shlex.split(shown)
                assert words[:2] == ["invokeai-external", "generate"]
                assert "--root" not in words


def _printed(work: Callable[[], int]) -> tuple[int, str]:
    written = io.BytesIO()
    out = io.TextIOWrapper(written, encoding="utf-8")
    with redirect_stdout(out), redirect_stderr(out):
        code = work()
    out.flush()
    return code, written.getvalue().decode()


def _make_settings(dice: Random) -> bytes:
    return mutations.spoilt_bytes(dice.choice(seeds.SETTINGS_FILES), dice)


def _check_settings(name: str) -> Callable[[bytes], None]:
    def check(case: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(case)
            said = ""
            try:
                settings = load_settings(Path(folder), {})
                for model in Registry(settings.catalog).models():
                    model.sizing.presets()
            except ExternalError as error:
                said = str(error)
            assert "sk-false" not in said
            assert "AIzaSyD" not in said

    return check


# All of it


@contextmanager
def targets() -> Iterator[dict[str, Target]]:
    """All targets by name, with the server that they need."""
    with tempfile.TemporaryDirectory() as folder, start_blocking_portal() as portal:
        server = _Server(portal, Path(folder))

        def called(provider: str, previews: int) -> Callable[[bytes], None]:
            return lambda case: server.call(case, provider, previews=previews)

        made = (
            Target("openai_answer", lambda dice: _answer_of(seeds.openai_answers(), dice), called("openai", 0)),
            Target("openai_stream", lambda dice: _stream_of(_openai_events(), dice), called("openai", 2)),
            Target("gemini_answer", lambda dice: _answer_of(seeds.gemini_answers(), dice), called("gemini", 0)),
            Target("gemini_stream", lambda dice: _stream_of(_gemini_events(dice), dice), called("gemini", 2)),
            Target("image", _make_image, _check_image),
            Target("metadata", _make_metadata, _check_metadata),
            Target("settings", _make_settings, _check_settings("invokeai_external.yaml")),
            Target("keys", _make_settings, _check_settings("api_keys.yaml")),
        )
        try:
            yield {target.name: target for target in made}
        finally:
            portal.call(server.close)


TARGETS = (
    *("openai_answer", "openai_stream", "gemini_answer", "gemini_stream"),
    *("image", "metadata", "settings", "keys"),
)
