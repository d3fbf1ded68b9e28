"""A hostile text in each field that a provider, a gateway or a file writes: nothing of it acts or hides anywhere."""

from __future__ import annotations

import copy
import json
import logging
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

from invokeai_external import GenerationRequest, Service, load_settings
from invokeai_external.cli.entry_point import main
from invokeai_external.errors import ExternalError
from invokeai_external.images.text_chunks import embed_text
from invokeai_external.progress import Failed, Progress, Retrying

from .service.common import GEMINI, OPENAI, PNG_1X1
from .support.guard import CANARY
from .support.raw_server import RawServer, Step, answer, chunk, events
from .support.samples import png_of

pytestmark = pytest.mark.anyio

HOSTILE = f"\x1b[31m\x9b31m\u202e\u2066\u200b\ufeff\u00ad\U000e0041\ud800\x00\r\u2028 {CANARY} {'long ' * 9_000}"
IN_A_HEADER = f"\x9b31m\x90\x9d\xad {CANARY} {'long ' * 200}".encode("latin-1")

# Whole responses, and the fields that say what they are, which stay as they are.

USAGE = {"input_tokens": 5, "input_tokens_details": {"text_tokens": 5, "image_tokens": 0}, "output_tokens": 9}
OPENAI_IMAGE = {"b64_json": PNG_1X1, "revised_prompt": "a fox", "generation_id": "g", "url": None}
OPENAI_ANSWER = {"created": 1, "data": [OPENAI_IMAGE], "size": "1x1", "quality": "low", "usage": USAGE}
OPENAI_EVENT = {"type": "image_generation.completed", **OPENAI_IMAGE, "size": "1x1", "usage": USAGE}
GEMINI_ANSWER = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "Here it is", "thoughtSignature": "s"},
                    {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}},
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "finishMessage": "done",
            "groundingMetadata": {
                "webSearchQueries": ["fox"],
                "groundingChunks": [{"web": {"uri": "https://example.com/fox", "title": "Foxes"}}],
            },
        }
    ],
    "usageMetadata": {"promptTokenCount": 5, "serviceTier": "standard"},
    "modelVersion": "m",
    "responseId": "r",
}
FIXED = {"b64_json", "data", "type", "finishReason"}
IMAGES: list[tuple[str, Mapping[str, Any], int]] = [
    (OPENAI, OPENAI_ANSWER, 0),
    (OPENAI, OPENAI_EVENT, 1),
    (GEMINI, GEMINI_ANSWER, 0),
    (GEMINI, GEMINI_ANSWER, 1),
]

INNER = {"code": "content_filter"}
DETAILS = {"moderation_stage": "output", "categories": ["violence"]}
ERROR = {"message": "No", "type": "t", "code": "c", "param": "p", "innererror": INNER, "moderation_details": DETAILS}
RETRY = {"@type": "RetryInfo", "retryDelay": "7s", "reason": "r", "violations": [{"quotaId": "q", "quotaValue": "1"}]}
FAILURES: list[Mapping[str, Any]] = [
    {"error": ERROR},
    {"error": {**ERROR, "code": "moderation_blocked"}},
    {"error": {"code": 429, "message": "No", "status": "s", "details": [RETRY]}},
    {"detail": [{"loc": ["body", "n"], "msg": "No", "type": "t"}]},
    {"message": "No", "error": "Bad"},
    {"errors": [{"message": "No"}], "title": "Bad"},
    {"errors": {"n": ["No"]}},
    {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "No"}},
    {"candidates": [{"finishReason": "OTHER", "finishMessage": "failed", "content": {"parts": [{"text": "No"}]}}]},
    {"candidates": [{"finishReason": "NEW", "finishMessage": "No"}]},
]


def places(value: object, fixed: set[str], place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a body."""
    if isinstance(value, Mapping | list):
        steps = value.items() if isinstance(value, Mapping) else enumerate(value)
        for step, inner in steps:
            if step not in fixed or isinstance(inner, Mapping | list):
                yield from places(inner, fixed, (*place, step))
    elif isinstance(value, str):
        yield place


def with_hostile(body: Mapping[str, Any], *where: tuple[Any, ...]) -> bytes:
    body = copy.deepcopy(dict(body))
    for place in where:
        inner: Any = body
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = HOSTILE
    return json.dumps(body).encode()


def all_texts(value: object) -> Iterator[str]:
    """All texts in a value, those of its keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, ExternalError):
        yield from (str(value), value.message, value.hint or "", value.request_id or "", repr(value))
    elif is_dataclass(value) and not isinstance(value, type):
        yield from all_texts({name: getattr(value, name) for name in value.__dataclass_fields__ if name != "writer"})
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from all_texts(key)
            yield from all_texts(inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from all_texts(inner)


def unfit(text: str, most: int = 40_000) -> list[str]:
    """What is wrong with a text that is shown."""
    signs = {f"U+{ord(sign):04X}" for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    wrong = sorted(signs - {"U+000A", "U+0009"})
    return [*wrong, *(["the key"] if CANARY[:8] in text else []), *(["its length"] if len(text) > most else [])]


async def outcome_of(
    model: str, said: Sequence[Step], previews: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[object]:
    """All that a library user gets of a call."""
    seen: list[Progress] = []
    with RawServer(*said) as server:
        monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{model.partition('/')[0].upper()}_BASE_URL", f"{server.url}/v1")
        (tmp_path / "invokeai_external.yaml").write_text("settings: {max_attempts: 1}")
        async with Service(load_settings(tmp_path)) as service:
            request = GenerationRequest(model=model, prompt="a fox", previews=previews)
            try:
                found: object = await service.generate(request, seen.append)
            except ExternalError as error:
                found = error
    return [found, *(event.reason for event in seen if isinstance(event, Retrying | Failed))]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def check(
    model: str,
    said: Sequence[Step],
    previews: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> object:
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "invokeai_external"):
        found = await outcome_of(model, said, previews, tmp_path, monkeypatch)
    shown = [*all_texts(found), *(record.getMessage() for record in caplog.records)]
    assert {text[:80]: wrong for text in shown if (wrong := unfit(text))} == {}
    assert {text[:80]: wrong for text in all_texts(found[1:]) if (wrong := unfit(text, 1000))} == {}
    return found[0]


def success(body: bytes, previews: int) -> list[Step]:
    x_request_id = IN_A_HEADER.decode("latin-1")
    if previews:
        return [events(body, x_request_id=x_request_id), chunk(b"")]
    return [answer(body, x_request_id=x_request_id)]


@pytest.mark.parametrize(("model", "body", "previews"), IMAGES)
async def test_no_field_of_a_response_is_shown_as_it_is(
    model: str,
    body: Mapping[str, Any],
    previews: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = list(places(body, FIXED))
    assert len(found) >= 2
    for where in ([place] for place in found):
        result = await check(
            model, success(with_hostile(body, *where), previews), previews, tmp_path, monkeypatch, caplog
        )
        assert not isinstance(result, ExternalError), where


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
@pytest.mark.parametrize("status", [200, 400, 401, 402, 403, 404, 429, 503])
async def test_no_field_of_an_error_is_shown_as_it_is(
    model: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for body in FAILURES:
        found = list(places(body, set()))
        # Other statuses take the same words from the same fields.
        singly = [[place] for place in found] if status in (200, 400, 429) else []
        for where in (*singly, found):
            raw = with_hostile(body, *where)
            said = answer(raw, status, x_request_id=IN_A_HEADER.decode("latin-1"))
            error = await check(model, [said], 0, tmp_path, monkeypatch, caplog)
            assert isinstance(error, ExternalError)
            if status == 200:
                said = events(b"{}", raw, x_request_id=IN_A_HEADER.decode("latin-1"))
                assert isinstance(
                    await check(model, [said, chunk(b"")], 1, tmp_path, monkeypatch, caplog), ExternalError
                )


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
async def test_no_plain_text_and_no_header_of_an_error_is_shown_as_it_is(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    raw = HOSTILE.encode(errors="replace").lstrip()
    for media_type in ("text/plain", "application/json"):
        for name in ("x_request_id", "retry_after", "location", "x_should_retry"):
            said = answer(raw, 400, content_type=media_type, **{name: IN_A_HEADER.decode("latin-1")})
            assert isinstance(await check(model, [said], 0, tmp_path, monkeypatch, caplog), ExternalError)


# The command line.


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("model", "body", "previews"), [row for row in IMAGES if not row[2]])
def test_nothing_hostile_reaches_the_terminal_or_the_json(
    model: str,
    body: Mapping[str, Any],
    previews: int,
    as_json: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ["--json"] if as_json else []
    generate = ["generate", "a fox", "--model", model, "--out", str(tmp_path / "out"), *more]
    with RawServer(*success(with_hostile(body, *places(body, FIXED)), previews)) as server:
        monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{model.partition('/')[0].upper()}_BASE_URL", f"{server.url}/v1")
        assert main(generate) == 0
    (path,) = (tmp_path / "out").iterdir()
    assert main(["recall", str(path), *more]) == 0
    for failure in FAILURES:
        said = answer(with_hostile(failure, *places(failure, set())), 400, x_request_id=IN_A_HEADER.decode("latin-1"))
        with RawServer(said) as server:
            monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{model.partition('/')[0].upper()}_BASE_URL", f"{server.url}/v1")
            assert main(generate) == 1
    printed = capsys.readouterr()
    assert unfit(printed.out, 100_000) == []
    assert unfit(printed.err) == []


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_hostile_in_the_metadata_of_a_file_reaches_the_terminal(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image: Mapping[str, object] = {"name": "a.png", "sha256": "0", "marks": "white"}
    external: dict[str, object] = {
        "provider": "openai",
        "model": "gpt-image-2",
        "size": "1x1",
        "init_image": image,
        "mask": image,
    }
    external |= {"references": [image], "options": {"quality": "low"}, "notices": [{"code": "c", "message": "m"}]}
    external |= {"text": "t", "request_id": "r", "model_version": "v", "revised_prompt": "p", "created": "2026"}
    metadata = {"positive_prompt": "a fox", "seed": 1, "image_size": "1K", "model": {"key": "k"}, "external": external}
    path = tmp_path / "image.png"
    found = list(places(metadata, set()))
    for where in (*([place] for place in found), found):
        text = with_hostile(metadata, *where).decode().replace(CANARY, "key")
        path.write_bytes(embed_text(png_of("RGB", (8, 8)), {"invokeai_metadata": text}))
        main(["recall", str(path), *(["--json"] if as_json else [])])
        printed = capsys.readouterr()
        assert unfit(printed.out + printed.err, 10**9) == [], where


def test_nothing_hostile_in_the_name_of_a_file_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, file = "a\x1b[31m\x9b31m\u202e\u200b.png", tmp_path / "file"
    file.touch()
    for arguments in (
        ["recall", str(tmp_path / name)],
        ["generate", "x", "--ref", str(tmp_path / name), "--sandbox"],
        ["generate", "x", "--prompt-file", str(tmp_path / name), "--sandbox"],
        ["generate", "x", "--sandbox", "--out", str(file / name)],
        ["models", "show", name],
        ["doctor", "--root", str(tmp_path / name)],
    ):
        assert main(arguments) != 0
        printed = capsys.readouterr()
        assert unfit(printed.out + printed.err) == [], arguments


def test_the_test_sees_what_is_hostile() -> None:
    assert len(unfit(HOSTILE)) >= 12
    assert len(unfit(IN_A_HEADER.decode("latin-1"))) >= 4
