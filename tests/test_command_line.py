"""The command line as its users see it: output, files, exit codes, in process and as a program of its own."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from canary import CANARY
from PIL import Image

from invokeai_external.cli.app import ProviderName
from invokeai_external.cli.main import main
from invokeai_external.cli.progress_line import live_line
from invokeai_external.errors import RateLimitedError
from invokeai_external.planning.plan import MASK_SENTENCE
from invokeai_external.providers.registry import PROVIDER_IDS
from invokeai_external.result import Preview, Received, Retrying, Sending
from invokeai_external.service.progress import ProgressLine

OPENAI = "openai/gpt-image-2.5-flare"
GEMINI = "gemini/gemini-nano-banana-2.1"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


class Result:
    """What a command printed; no command may ever print a key."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        assert CANARY not in stdout + stderr
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run_main(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run_main


def finished(process: subprocess.Popen[str], timeout: float = 30) -> Result:
    stdout, stderr = process.communicate(timeout=timeout)
    return Result(process.returncode, stdout, stderr)


def program(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "invokeai_external", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def picture(path: Path, size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Path:
    Image.new(mode, size, 128 if mode == "L" else None).save(path)
    return path


def png_chunks(data: bytes, kind: bytes) -> bytes:
    """The contents of all chunks of one kind."""
    at, found = 8, b""
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == kind:
            found += data[at + 8 : at + 8 + length]
        at += length + 12
    return found


# generate


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
def test_generate_prints_the_paths_and_says_the_cost_beside(model: str, run: Any, out: Path) -> None:
    result = run("generate", "a red fox in snow", "--model", model, "--out", out, "--sandbox", "-n", 2)
    assert result.code == 0
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert sorted(paths) == sorted(out.iterdir())
    assert len(paths) == 2
    assert all(Image.open(io.BytesIO(path.read_bytes())).size[0] >= 512 for path in paths)
    assert re.search(rf"{model}: 2 in \d+\.\d s, \$\d\.\d{{4}}", result.stderr)
    assert "cost nothing" in result.stderr


def test_generate_names_files_by_day_model_and_prompt_and_never_overwrites(run: Any, out: Path) -> None:
    for _ in range(3):
        run("generate", "A Red Fox: in/snow!", "--model", OPENAI, "--out", out, "--sandbox")
    day = r"\d{4}-\d\d-\d\d"
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 3
    for name, pattern in zip(names, ["-2", "-3", ""], strict=True):
        assert re.fullmatch(rf"{day}-gpt-image-2\.5-flare-a-red-fox-in-snow{pattern}\.png", name), name


def test_generate_as_json_prints_one_object(run: Any, out: Path) -> None:
    result = run(
        *("generate", "a fox", "--model", GEMINI, "--out", out, "--sandbox", "--json"),
        *("-n", 2, "--seed", 7, "--size", "1000x1000", "--quality", "high"),
    )
    told = result.json
    assert list(told) == [
        *("model", "provider", "images", "notices", "usage", "cost_usd", "request_ids", "elapsed_s"),
    ]
    assert (told["model"], told["provider"]) == ("gemini-nano-banana-2.1", "gemini")
    fields = ["path", "width", "height", "mime_type", "bytes", "seed", "metadata_path"]
    assert [list(image) for image in told["images"]] == [fields] * 2
    assert [image["seed"] for image in told["images"]] == [7, 8]
    for image in told["images"]:
        data = Path(image["path"]).read_bytes()
        assert (image["width"], image["height"], image["bytes"]) == (1024, 1024, len(data))
    assert [notice["code"] for notice in told["notices"]] == ["size_changed", "option_dropped", "sandbox"]
    assert told["usage"]["output_image_tokens"] == 2240
    assert told["cost_usd"] == pytest.approx(2240 * 30 / 1e6, rel=0.3)
    assert len(told["request_ids"]) == 2


def test_generate_tells_a_partial_success(run: Any, out: Path, sandbox_url: str) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", "fault": "refusal_text"})
    arguments = ("generate", "a fox", "--model", GEMINI, "--out", out, "-n", 3)
    result = run(*arguments, "--json")
    assert result.code == 1
    assert len(result.json["images"]) == 2
    (error,) = result.json["errors"]
    assert list(error) == ["code", "message", "hint", "provider", "status", "request_id"]
    assert error["code"] == "content_blocked"
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", "fault": "refusal_text"})
    result = run(*arguments)
    assert result.code == 1
    assert len(result.stdout.splitlines()) == 2
    assert "Error: Google Gemini answered in words, without a picture" in result.stderr


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
@pytest.mark.parametrize("fault", ["sloppy_mask", "jpeg_answer"])
def test_generate_edits_inside_a_mask_and_nowhere_else(
    model: str, fault: str, run: Any, out: Path, tmp_path: Path, sandbox_url: str
) -> None:
    base = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn).resize((900, 600)) for turn in (0, 90, 180)])
    base.save(tmp_path / "base.png")
    mask = Image.new("L", base.size)
    mask.paste(255, (300, 200, 500, 400))
    mask.save(tmp_path / "mask.png")
    ref = picture(tmp_path / "ref.jpg")
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": model.partition("/")[0], "fault": fault})
    result = run(
        *("generate", "a fox", "--model", model, "--out", out, "--json"),
        *("--init", tmp_path / "base.png", "--mask", tmp_path / "mask.png", "--ref", ref, "--ref", ref),
    )
    assert result.code == 0, result.stdout
    (told,) = result.json["images"]
    assert (told["width"], told["height"], told["mime_type"]) == (900, 600, "image/png")
    made = Image.open(told["path"])
    assert (made.format, made.mode) == ("PNG", "RGB")
    black = Image.new("RGB", base.size)
    keep = mask.point([255 * (value == 0) for value in range(256)])
    assert Image.composite(made, black, keep).tobytes() == Image.composite(base, black, keep).tobytes()
    inner = (320, 220, 480, 380)
    assert made.crop(inner).tobytes() != base.crop(inner).tobytes()
    recalled = run("recall", told["path"]).stdout
    assert "--init base.png --mask mask.png --ref ref.jpg --ref ref.jpg" in recalled
    assert run("recall", told["path"], "--json").json["external"]["composited"] is True


def test_dry_run_shows_the_sentence_on_a_mask(run: Any, out: Path, tmp_path: Path) -> None:
    base, mask = picture(tmp_path / "base.png"), picture(tmp_path / "mask.png", mode="L")
    arguments = ("generate", "a hat", "--model", GEMINI, "--init", base, "--mask", mask, "--dry-run", "--json")
    *pictures, sentence, prompt = run(*arguments).json["requests"][0]["json"]["contents"][0]["parts"]
    assert [list(part) for part in pictures] == [["inlineData"]] * 2
    assert (sentence, prompt) == ({"text": MASK_SENTENCE}, {"text": "a hat"})


def test_a_transparent_picture_keeps_its_alpha_and_its_image_data_byte_for_byte(
    run: Any, out: Path, sandbox_url: str
) -> None:
    arguments = ("a lantern", "--model", OPENAI, "--size", "1024x1024", "--background", "transparent")
    result = run("generate", *arguments, "--out", out, "--json")
    path = Path(result.json["images"][0]["path"])
    sent = httpx.post(
        f"{sandbox_url}/openai/v1/images/generations",
        headers={"Authorization": "Bearer any"},
        json={
            "model": "gpt-image-2.5-flare",
            "prompt": "a lantern",
            "n": 1,
            "size": "1024x1024",
            "background": "transparent",
        },
    ).json()
    original = base64.b64decode(sent["data"][0]["b64_json"])
    assert png_chunks(path.read_bytes(), b"IDAT") == png_chunks(original, b"IDAT") != b""
    with Image.open(path) as image:
        assert image.mode == "RGBA"
        assert image.getchannel("A").getextrema()[0] == 0
    recalled = run("recall", path, "--json").json
    assert recalled["openai_background"] == "transparent"
    assert recalled["external"]["received"] == {"width": 1024, "height": 1024, "mime_type": "image/png"}


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_every_output_format_can_be_recalled(output_format: str, run: Any, out: Path) -> None:
    command = ["generate", 'a fox, "quoted" & naïve 狐', "--model", OPENAI, "--size", "1536x864", "--quality", "high"]
    result = run(*command, "--output-format", output_format, "--out", out, "--sandbox", "--json")
    path = result.json["images"][0]["path"]
    assert path.endswith("jpg" if output_format == "jpeg" else output_format)
    recalled = shlex.split(run("recall", path).stdout)
    assert recalled == ["invokeai-external", *command, "--output-format", output_format, "--sandbox"]


def test_recall_gives_a_command_that_makes_the_same_picture(run: Any, out: Path) -> None:
    first = run(
        *("generate", "a fox", "--model", GEMINI, "--aspect-ratio", "16:9", "--image-size", "1K", "--seed", 5),
        *("--temperature", 0.5, "--thinking-level", "high", "--out", out, "--sandbox", "--json"),
    ).json["images"][0]["path"]
    command = shlex.split(run("recall", first).stdout)
    second = run(*command[1:], "--out", out, "--sandbox", "--json").json["images"][0]["path"]
    assert Image.open(first).tobytes() == Image.open(second).tobytes()


def test_dry_run_shows_the_request_without_key_or_image_data_and_sends_nothing(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str
) -> None:
    ref = picture(tmp_path / "private-name.png", (640, 480))
    arguments = ("generate", "a fox", "--out", out, "--dry-run", "--image-size", "2K", "--aspect-ratio", "1:1")
    told = run(*arguments, "--model", GEMINI, "--ref", ref, "-n", 2, "--json").json
    assert told["estimated_cost_usd"] == pytest.approx(2 * 1680 * 30 / 1e6)
    assert len(told["requests"]) == 2
    request = told["requests"][0]
    assert request["url"].endswith("/gemini/v1beta/models/gemini-nano-banana-2.1:generateContent")
    assert request["json"]["contents"][0]["parts"][1] == {"text": "a fox"}
    assert "characters of base64" in request["json"]["contents"][0]["parts"][0]["inlineData"]["data"]
    shown = run(*arguments, "--model", OPENAI, "--ref", ref)
    assert shown.code == 0
    assert "POST" in shown.stdout
    assert "image: image-1.png, image/png" in shown.stdout
    assert "Estimated cost: unknown. Nothing was sent." in shown.stderr
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []
    assert not out.exists()


def test_dry_run_needs_no_key(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    told = run(
        "generate", "a fox", "--model", "openai/gpt-image-1.5", "--size", "1024x1024", "--quality", "low", "--dry-run"
    )
    assert told.code == 0
    assert "ends on 2026-12-01" in told.stderr
    assert "Estimated cost: $0.0121" in told.stderr


WRONG: list[tuple[str, list[str], list[str]]] = [
    ("empty prompt", ["generate", " "], ["The prompt is empty."]),
    ("no such model", ["generate", "x", "--model", "stable-diffusion"], ["No known model", "provider/model-id"]),
    ("no such provider", ["generate", "x", "--model", "acme/one"], ["no provider 'acme'", "gemini, openai"]),
    ("size", ["generate", "x", "--size", "big"], ["--size", "1536x864"]),
    ("ratio", ["generate", "x", "--aspect-ratio", "wide"], ["--aspect-ratio", "16:9"]),
    ("image size", ["generate", "x", "--image-size", "huge"], ["1K, 2K or 4K"]),
    ("size twice", ["generate", "x", "--size", "64x64", "--image-size", "1K"], ["one or the other"]),
    ("too many", ["generate", "x", "-n", "11"], ["1 to 10"]),
    ("none", ["generate", "x", "-n", "0"], ["1 to 10"]),
    ("no such file", ["generate", "x", "--ref", "missing.png"], ["missing.png cannot be read", "No such file"]),
    ("no picture", ["generate", "x", "--model", OPENAI, "--ref", "text.txt"], ["text.txt"]),
    ("no mask", ["generate", "x", "--model", OPENAI, "--mask", "text.txt"], ["text.txt"]),
    ("value", ["generate", "x", "--model", OPENAI, "--quality", "best"], ["'best'", "low, medium, high"]),
    ("number", ["generate", "x", "--model", GEMINI, "--temperature", "3"], ["from 0 to 1"]),
    ("transparent", ["generate", "x", "--model", GEMINI, "--background", "transparent"], ["no transparent pictures"]),
    ("unwritable", ["generate", "x", "--out", "text.txt/below"], ["cannot be saved", "--out"]),
    ("previews", ["generate", "x", "--previews", "text.txt/below"], ["cannot be saved", "--previews"]),
    ("usage", ["generate", "x", "--siez", "1x1"], ["--siez", "--help"]),
    ("not a number", ["generate", "x", "-n", "two"], ["two", "--help"]),
    ("no command", ["gnerate"], ["gnerate"]),
    ("recall nothing", ["recall", "missing.png"], ["missing.png cannot be read"]),
    ("recall no picture", ["recall", "text.txt"], ["text.txt"]),
    ("recall plain picture", ["recall", "plain.png"], ["holds no settings"]),
]


@pytest.mark.parametrize(("arguments", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_bad_input_gets_a_sentence_and_no_call(
    arguments: list[str], words: list[str], run: Any, tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("no picture")
    picture(Path("plain.png"))
    result = run(*arguments)
    assert result.code == 2
    assert result.stdout == ""
    for part in words:
        assert part in result.stderr
    assert "Traceback" not in result.stderr
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []
    error = run(*arguments, "--json").json["error"]
    assert list(error) == ["code", "message", "hint", "provider", "status", "request_id"]
    assert all(part in f"{error['message']} {error['hint']}" for part in words)


def test_a_failure_of_the_provider_exits_with_1(run: Any, out: Path, sandbox_url: str) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "openai", "fault": "quota"})
    result = run("generate", "a fox", "--model", OPENAI, "--out", out, "--json")
    assert result.code == 1
    error = result.json["error"]
    assert (error["code"], error["provider"], error["status"]) == ("quota", "openai", 429)
    assert "Add credit" in error["hint"]


def test_a_broken_settings_file_is_one_message(run: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "invokeai_external.yaml").write_text("settings:\n  concurency: 3\n")
    result = run("generate", "a fox", "--sandbox")
    assert result.code == 2
    assert f"{root / 'invokeai_external.yaml'}, line 2: settings.concurency" in result.stderr


def test_a_full_disk_loses_no_picture(run: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder goes away after the check and before the picture is there."""
    from invokeai_external.cli import image_files

    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    original = image_files.ImageFolder.save

    def save_into_nothing(self: image_files.ImageFolder, image: Any) -> Any:
        out.rmdir()
        return original(self, image)

    monkeypatch.setattr(image_files.ImageFolder, "save", save_into_nothing)
    result = run("generate", "a fox", "--out", out, "--sandbox", "--json")
    assert result.code == 0
    assert [notice["code"] for notice in result.json["notices"]] == ["sandbox", "saved_elsewhere"]
    assert Path(result.json["images"][0]["path"]).parent == spare
    spare.chmod(0o500)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    result = run("generate", "a fox", "--out", out, "--sandbox")
    assert result.code == 1
    assert "arrived and was lost" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("stopped_by", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"fault": "slow", "seconds": 30}, "1 call was under way and may be billed all the same."),
        ({"fault": "rate_limited", "seconds": 60}, "Nothing was under way."),
    ],
    ids=["in flight", "in a wait"],
)
def test_ctrl_c_stops_at_once_and_keeps_what_has_arrived(
    fault: dict[str, Any], told: str, stopped_by: signal.Signals, out: Path, sandbox_url: str
) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", **fault}).raise_for_status()
    process = program("generate", "a fox", "--model", GEMINI, "--out", out, "-n", 2, "--json")
    deadline = time.monotonic() + 30
    while not list(out.glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(stopped_by)
    result = finished(process, timeout=10)
    assert result.code == 130
    assert result.stderr == ""
    assert result.json["error"]["code"] == "cancelled"
    assert result.json["error"]["hint"] == f"1 finished picture was kept. {told}"
    assert [Path(image["path"]) for image in result.json["images"]] == list(out.iterdir())


# Prompts


def prompts_sent(sandbox_url: str) -> list[str]:
    """The prompts that the sandbox has seen."""
    seen = httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]
    return [call["json"]["prompt"] for call in seen if call["method"] == "POST"]


def piped(data: bytes) -> Any:
    return io.TextIOWrapper(io.BytesIO(data))


@pytest.mark.parametrize(
    ("way", "end"),
    [("stdin", "\n"), ("stdin", "\r\n\n"), ("file", ""), ("file of stdin", "\n"), ("file with a mark", "\n")],
)
def test_a_prompt_comes_from_standard_input_or_a_file(
    way: str, end: str, run: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    prompt = "a fox 🦊\n  in snow"
    file = tmp_path / "p.txt"
    file.write_bytes((prompt + end).encode("utf-8-sig" if way == "file with a mark" else "utf-8"))
    monkeypatch.setattr("sys.stdin", piped((prompt + end).encode()))
    arguments = {"stdin": ["-"], "file of stdin": ["--prompt-file", "-"]}.get(way, ["--prompt-file", str(file)])
    assert run("generate", *arguments, "--model", OPENAI, "--out", out).code == 0
    assert prompts_sent(sandbox_url) == [prompt]


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (["@p.txt"], b"", "usage"),
        (["p.txt"], b"", "usage"),
        (["--ref", "a.png", "b.png"], b"", "usage"),
        ([], b"", "usage"),
        (["a fox", "--prompt-file", "p.txt"], b"", "usage"),
        (["-", "--prompt-file", "p.txt"], b"a fox", "usage"),
        (["-"], b"", "invalid_request"),
        (["-"], b"\n", "invalid_request"),
        (["-"], b"caf\xe9", "invalid_request"),
        (["-"], b"x" * 1_000_001, "invalid_request"),
        (["--prompt-file", "missing.txt"], b"", "invalid_request"),
        (["--prompt-file", "."], b"", "invalid_request"),
        (["--prompt-file", "latin.txt"], b"", "invalid_request"),
        (["caf\udce9 at night"], b"", "invalid_request"),
        (["a fox", "--model", "openai/gpt-\udce9"], b"", "invalid_request"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_prompt_is_not_painted(
    arguments: list[str],
    stdin: bytes,
    code: str,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandbox_url: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("a fox")
    Path("latin.txt").write_bytes(b"caf\xe9")
    picture(Path("a.png"))
    picture(Path("b.png"))
    monkeypatch.setattr("sys.stdin", piped(stdin))
    model = [] if "--model" in arguments else ["--model", OPENAI]
    result = run("generate", *arguments, *model, "--json")
    assert result.code == 2
    assert result.json["error"]["code"] == code
    assert result.json["error"]["hint"]
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []


@pytest.mark.parametrize("prompt", ["@nobody", "a fox", "folder", "x" * 5000, "a\0b", "a/b: c?"])
def test_what_names_no_file_is_a_prompt(
    prompt: str, run: Any, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert run("generate", prompt, "--model", OPENAI, "--out", out).code == 0
    assert prompts_sent(sandbox_url) == [prompt]


# Output that cannot be written


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_narrow_console_shows_the_path_of_what_was_paid_for(encoding: str, tmp_path: Path, sandbox_url: str) -> None:
    folder = tmp_path / "🦊"
    arguments = ("generate", "a fox 🦊 狐", "--model", OPENAI, "--out", folder)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    result = finished(program(*arguments, env=environment))
    (path,) = folder.iterdir()
    assert result.code == 0
    assert "Traceback" not in result.stderr
    shown = str(path).encode(encoding, "backslashreplace").decode(encoding)
    assert result.stdout == f"{shown}\n"
    told = finished(program(*arguments, "--json", env=environment)).json
    assert Path(told["images"][0]["path"]) in set(folder.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="not every system has names that are no UTF-8")
def test_a_path_that_is_no_unicode_is_printed_as_its_bytes(tmp_path: Path, sandbox_url: str) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    ref = picture(tmp_path / os.fsdecode(b"b\xe9.png"))
    command = [sys.executable, "-m", "invokeai_external", "generate", "a fox", "--model", OPENAI]
    command += ["--out", str(folder), "--ref", str(ref)]
    done = subprocess.run(command, capture_output=True, check=True)
    (path,) = folder.iterdir()
    assert done.stdout == os.fsencode(path) + b"\n"
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout.decode("utf-8"))
    assert Path(told["images"][0]["path"]).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("arguments", "way", "unbuffered"),
    [
        (["generate"], "full", ""),
        (["generate"], "closed", ""),
        (["generate"], "nobody reads", ""),
        (["generate", "--json"], "full", "1"),
        (["models"], "full", ""),
        (["keys", "list"], "nobody reads", ""),
        (["--help"], "full", "1"),
        (["--help"], "closed", ""),
        (["--version"], "full", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_output_that_cannot_be_written_is_one_sentence(
    arguments: list[str], way: str, unbuffered: str, out: Path, sandbox_url: str
) -> None:
    if arguments[0] == "generate":
        arguments = [*arguments, "a fox", "--model", OPENAI, "--out", str(out)]
    command = [sys.executable, "-m", "invokeai_external", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("wb") as full, os.fdopen(writing, "wb", 0) as broken:
        if way == "closed":
            command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        stdout = {"full": full, "closed": None, "nobody reads": broken}[way]
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, check=False, timeout=60
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.count("Error: ") == 1
    if arguments[0] == "generate":
        (path,) = out.iterdir()
        assert f"Saved: {path}" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("way", ["2>&-", "2>/dev/full"])
def test_a_standard_error_that_cannot_be_written_stops_nothing(way: str, out: Path) -> None:
    command = [sys.executable, "-m", "invokeai_external", "generate", "a fox", "--out", str(out), "--sandbox"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {way}', "sh", *command], stdout=subprocess.PIPE, text=True, check=False
    )
    (path,) = out.iterdir()
    assert (done.returncode, done.stdout) == (0, f"{path}\n")


def failing_once(monkeypatch: pytest.MonkeyPatch, error: OSError, times: int = 1) -> None:
    """Make the first images impossible to write, wherever."""
    from invokeai_external.cli import image_files

    original = image_files.ImageFolder.save
    left = [error] * times

    def save(self: image_files.ImageFolder, image: Any) -> Any:
        if left:
            with monkeypatch.context() as patched:
                patched.setattr(tempfile, "mkstemp", lambda *_, **__: (_ for _ in ()).throw(left[-1]))
                try:
                    return original(self, image)
                finally:
                    left.pop()
        return original(self, image)

    monkeypatch.setattr(image_files.ImageFolder, "save", save)


@pytest.mark.parametrize("model", [OPENAI, GEMINI])
def test_an_image_that_cannot_be_written_costs_no_other(
    model: str, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    order = {"provider": model.partition("/")[0], "fault": "slow", "seconds": 1}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    failing_once(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    result = run("generate", "a fox", "--model", model, "--out", out, "-n", 4, "--json")
    assert result.code == 1
    assert len(list(out.iterdir())) == 3
    assert sorted(Path(image["path"]) for image in result.json["images"]) == sorted(out.iterdir())
    (error,) = result.json["errors"]
    assert error["code"] == "not_saved"
    assert os.strerror(errno.ENOSPC) in error["message"]

    failing_once(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    before = set(out.iterdir())
    result = run("generate", "a fox", "--model", model, "--out", out, "-n", 4)
    assert result.code == 1
    assert {Path(line) for line in result.stdout.splitlines()} == set(out.iterdir()) - before
    assert result.stderr.count("Error: ") == 1


def test_where_no_image_can_be_written_that_is_the_error(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_once(monkeypatch, OSError(errno.EROFS, os.strerror(errno.EROFS)), times=2)
    result = run("generate", "a fox", "--model", GEMINI, "--out", out, "--sandbox", "-n", 2, "--json")
    assert result.code == 1
    assert result.json["error"]["code"] == "not_saved"


def test_what_is_saved_is_told_whatever_goes_wrong_after(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from invokeai_external.cli.commands import generate

    def fail(*_: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(generate, "_tell", fail)
    with pytest.raises(ValueError, match="a mistake of ours"):
        main(["generate", "a fox", "--model", GEMINI, "--out", str(out), "--sandbox"])
    (path,) = out.iterdir()
    assert capsys.readouterr() == ("", f"Saved: {path}\n")


def test_the_live_line_says_what_is_going_on() -> None:
    now = 100.0
    line = ProgressLine(clock=lambda: now)
    assert line.text() == "preparing"
    line.on_progress(Sending(1, 2, 1))
    line.on_progress(Sending(2, 2, 1))
    assert line.text() == "sending"
    now = 112.0
    assert line.text() == "waiting 12 s"
    line.on_progress(Retrying(2, 2, 8.0, RateLimitedError("OpenAI asks to slow down.")))
    now = 115.0
    assert line.text() == "waiting 15 s · again in 5 s: OpenAI asks to slow down."
    line.on_progress(Received(1, 2, ()))
    line.on_progress(Sending(2, 2, 2))
    now = 116.0
    assert line.text() == "1 of 2 received · waiting 16 s"


def test_the_live_line_says_which_preview_was_shown_last() -> None:
    now = 100.0
    line = ProgressLine(clock=lambda: now)
    for call in (1, 2):
        line.on_progress(Sending(call, 2, 1))
    line.on_progress(Preview(1, 2, 2, 3, b"", "image/png"))
    assert line.text() == "preview 2 of 3 · waiting 0 s"
    now = 110.0
    line.on_progress(Preview(2, 2, 1, None, b"", "image/png"))
    assert line.text() == "preview 1 · waiting 10 s"
    line.on_progress(Received(2, 2, ()))
    assert line.text() == "1 of 2 received · preview 2 of 3 · waiting 10 s"
    line.on_progress(Received(1, 2, ()))
    assert line.text() == "2 of 2 received"


@pytest.mark.parametrize(("model", "count"), [(OPENAI, 3), (GEMINI, 1)])
def test_previews_are_kept_as_files_beside_the_results(
    model: str, count: int, run: Any, out: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "previews"
    arguments = ("generate", "a fox", "--model", model, "--out", out, "--previews", folder, "-n", 2, "--sandbox")
    result = run(*arguments, "--json")
    assert result.code == 0, result.stdout
    names = [f"call-{call}-preview-{index}.png" for call in (1, 2) for index in range(1, count + 1)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert sorted(Path(image["path"]) for image in result.json["images"]) == sorted(out.iterdir())
    for name in names:
        with Image.open(folder / name) as preview:
            assert preview.text == {}  # type: ignore[attr-defined]
    assert "--previews" not in run("recall", result.json["images"][0]["path"]).stdout
    run(*arguments)
    assert len(list(folder.iterdir())) == 4 * count


def test_the_setting_says_how_many_previews_are_asked_for(run: Any, out: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    (root / "invokeai_external.yaml").write_text("settings:\n  previews: 1\n")
    folder = tmp_path / "previews"
    arguments = ("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox", "--root", root)
    assert run(*arguments, "--previews", folder).code == 0
    assert [path.name for path in folder.iterdir()] == ["call-1-preview-1.png"]


def test_previews_that_cannot_be_kept_stop_nothing(
    run: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder goes away after the check and before the first preview is there."""
    from invokeai_external.cli import image_files

    folder, original = tmp_path / "previews", image_files.PreviewFolder.keep

    def keep_in_nothing(self: image_files.PreviewFolder, preview: Preview) -> None:
        if folder.exists():
            folder.rmdir()
        original(self, preview)

    monkeypatch.setattr(image_files.PreviewFolder, "keep", keep_in_nothing)
    result = run("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox", "--previews", folder)
    assert result.code == 0
    assert len(list(out.iterdir())) == 1
    assert not folder.exists()


def test_dry_run_shows_the_request_for_a_stream_and_makes_no_folder(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str
) -> None:
    arguments = ("generate", "a fox", "--out", out, "--dry-run", "--json", "--previews", tmp_path / "previews")
    request = run(*arguments, "--model", OPENAI).json["requests"][0]["json"]
    assert (request["stream"], request["partial_images"]) == (True, 3)
    assert run(*arguments, "--model", GEMINI).json["requests"][0]["url"].endswith(":streamGenerateContent?alt=sse")
    told = run(*arguments, "--model", "gemini/gemini-2.5-flash-image").json
    assert told["requests"][0]["url"].endswith(":generateContent")
    assert [notice["message"] for notice in told["notices"] if "preview" in notice["message"]] == [
        "Gemini 2.5 Flash Image shows no previews; 3 were left out."
    ]
    assert not (tmp_path / "previews").exists()
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []


def test_there_is_no_live_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with live_line() as on_progress:
        on_progress(Sending(1, 1, 1))
    assert capsys.readouterr() == ("", "")


def on_a_terminal(*arguments: object) -> tuple[str, str]:
    """What a program prints, and what it shows on a terminal meanwhile."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "invokeai_external", *map(str, arguments)],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # Linux reports the closed terminal like this.
    stdout, _ = process.communicate(timeout=20)
    os.close(ours)
    return stdout.decode(), shown.decode()


@pytest.mark.skipif(os.name != "posix", reason="makes a terminal")
def test_the_live_line_shows_on_a_terminal(out: Path, sandbox_url: str) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "openai", "fault": "slow", "seconds": 1.5})
    stdout, shown = on_a_terminal("generate", "a fox", "--model", OPENAI, "--out", out)
    # Which of its words are drawn is up to a busy machine.
    assert re.search(r"sending|waiting \d+ s", shown)
    assert str(out) in stdout


@pytest.mark.skipif(os.name != "posix", reason="makes a terminal")
def test_the_live_line_counts_the_previews_on_a_terminal(out: Path, tmp_path: Path, sandbox_url: str) -> None:
    order = {"provider": "openai", "fault": "slow_stream", "seconds": 1}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    stdout, shown = on_a_terminal("generate", "a fox", "--model", OPENAI, "--out", out, "--previews", tmp_path / "seen")
    # A busy machine does not draw every one of them.
    drawn = re.findall(r"preview (\d) of 3", shown)
    assert drawn
    assert drawn == sorted(drawn)
    assert len(stdout.splitlines()) == len(list(out.iterdir())) == 1


# models, keys, sandbox, demo, help


def test_models_hides_the_retired_unless_asked(run: Any) -> None:
    listed = run("models").stdout
    assert "openai/gpt-image-2.6-sunburst" in listed
    assert "dall-e-3" not in listed
    everything = run("models", "--all").stdout
    assert "retired, ended 2026-05-12, use gpt-image-2" in everything
    assert "gemini/" not in run("models", "--provider", "openai").stdout
    assert len(run("models", "--all", "--json").json) == 17
    flare = next(m for m in run("models", "--json").json if m["id"] == "gpt-image-2.5-flare")
    assert flare["prices"] == {"text_in": 5, "image_in": 8, "text_out": None, "image_out": 30}
    assert {"width": 3840, "height": 2160, "aspect_ratio": None, "image_size": None} in flare["presets"]


def test_models_shows_the_users_own(run: Any, tmp_path: Path) -> None:
    (tmp_path / "invokeai_external.yaml").write_text(
        "models:\n  openai/gpt-image-9:\n    name: Nine\n  gemini/gemini-3-pro-image:\n    prices: {image_out: 99}\n"
    )
    listed = {m["reference"]: m for m in run("models", "--json", "--root", tmp_path).json}
    assert listed["openai/gpt-image-9"]["name"] == "Nine"
    assert listed["gemini/gemini-3-pro-image"]["prices"]["image_out"] == 99
    assert listed["gemini/gemini-3-pro-image"]["prices"]["text_out"] == 12


def test_keys_are_set_listed_and_removed_and_never_shown(
    run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    root = tmp_path / "root"
    root.mkdir()
    (root / "api_keys.yaml").write_text("# mine\nexternal_openai_base_url: http://127.0.0.1:1/v1/\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{canary}\n"))
    assert run("keys", "set", "openai").code == 0
    stored = (root / "api_keys.yaml").read_text()
    assert stored == f'# mine\nexternal_openai_base_url: http://127.0.0.1:1/v1/\nexternal_openai_api_key: "{canary}"\n'
    assert stat.S_IMODE((root / "api_keys.yaml").stat().st_mode) == 0o600
    listed = run("keys", "list").stdout
    assert f"openai: key from {root / 'api_keys.yaml'}, at http://127.0.0.1:1/v1" in listed
    assert run("keys", "list", "--json").json["keys"][1]["key"] is True
    assert run("keys", "remove", "openai").code == 0
    assert "no key" in run("keys", "list").stdout
    assert "There is no key" in run("keys", "remove", "openai").stderr
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    assert "OPENAI_API_KEY still holds one" in run("keys", "remove", "openai").stderr
    (root / "api_keys.yaml").unlink()
    assert "OPENAI_API_KEY still holds one" in run("keys", "remove", "openai").stderr


def row_of(run: Any, provider: str) -> dict[str, Any]:
    """What ``keys list --json`` says of a provider."""
    rows: list[dict[str, Any]] = run("keys", "list", "--json").json["keys"]
    [row] = [row for row in rows if row["provider"] == provider]
    return row


def test_the_list_of_keys_says_which_key_goes_to_which_address(
    run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    assert row_of(run, "openai") == {
        "provider": "openai",
        "key": True,
        "source": "OPENAI_API_KEY",
        "base_url": "https://gateway.example/v1",
        "base_url_source": "OPENAI_BASE_URL",
        "unused": [],
        "problem": None,
    }
    assert "openai: key from OPENAI_API_KEY, at https://gateway.example/v1 (from OPENAI_BASE_URL)\n" in (
        run("keys", "list").stdout
    )
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", canary)
    row = row_of(run, "openai")
    assert (row["source"], row["base_url"]) == ("INVOKEAI_EXTERNAL_OPENAI_API_KEY", "https://api.openai.com/v1")
    assert row["unused"] == ["OPENAI_API_KEY", "OPENAI_BASE_URL"]
    assert "; not used: OPENAI_API_KEY, OPENAI_BASE_URL\n" in run("keys", "list").stdout


def test_a_key_is_not_sent_to_an_address_that_it_was_not_given_for(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL")
    file = tmp_path / "root" / "api_keys.yaml"
    file.parent.mkdir()
    file.write_text(f"external_openai_base_url: {sandbox_url}/openai/v1\n")
    file.chmod(0o600)
    row = row_of(run, "openai")
    assert (row["key"], row["source"], row["base_url"]) == (False, None, f"{sandbox_url}/openai/v1")
    assert (row["base_url_source"], row["unused"]) == (str(file), ["INVOKEAI_EXTERNAL_OPENAI_API_KEY"])
    for command in (
        ("generate", "a fox", "--model", OPENAI, "--out", out, "--json"),
        ("generate", "a fox", "--model", OPENAI, "--out", out, "--json", "--dry-run"),
        ("keys", "test", "openai", "--json"),
    ):
        result = run(*command)
        assert (result.code, result.json["error"]["code"]) == (2, "settings")
        for place in ("INVOKEAI_EXTERNAL_OPENAI_API_KEY", str(file)):
            assert place in result.json["error"]["message"]
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []
    # The other provider works, and so does the sandbox.
    assert run("keys", "test", "gemini").code == 0
    assert run("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox").code == 0


def test_a_key_that_is_none_is_told_by_the_list_and_never_sent(
    run: Any, out: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", "your-openai-key")
    assert "placeholder" in row_of(run, "openai")["problem"]
    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY is a placeholder" in run("keys", "list").stdout
    result = run("generate", "a fox", "--model", OPENAI, "--out", out, "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "not_configured")
    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY" in result.json["error"]["message"]
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []


def test_without_standard_input_there_is_no_key(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert run("keys", "set", "openai", "--root", tmp_path / "other").code == 2
    assert not (tmp_path / "other").exists()


def test_two_lines_are_no_key(run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{canary}\nsecond\n"))
    result = run("keys", "set", "openai")
    assert result.code == 2
    assert "has more than one line" in result.stderr
    assert not (tmp_path / "root" / "api_keys.yaml").exists()


def test_setting_a_key_says_where_it_goes_and_what_wins(
    run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say() -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(f'"{canary}"\n'))
        said: str = run("keys", "set", "openai").stderr
        return said

    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY wins over it" in say()
    file = tmp_path / "root" / "api_keys.yaml"
    file.write_text("external_openai_base_url: https://gateway.example/v1\n")
    assert "https://gateway.example/v1" in say()
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "https://other.example/v1")
    assert "wins over it" in say()
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    said = say()
    assert "was not given for the base URL in INVOKEAI_EXTERNAL_OPENAI_BASE_URL" in said


@pytest.mark.parametrize("usual", [True, False])
def test_the_list_of_keys_needs_neither_a_root_nor_an_environment(usual: bool, tmp_path: Path) -> None:
    code = "import sys; from invokeai_external.cli.main import main; "
    code += "" if usual else "from invokeai_external.settings import keys; keys.USUAL_VARIABLES = {}; "
    command = [sys.executable, "-c", f"{code}sys.exit(main(['keys', 'list']))"]
    listed = subprocess.run(command, env={"PYTHONPATH": os.environ["PYTHONPATH"]}, capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "openai: no key, at https://api.openai.com/v1" in listed.stdout


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_the_sandbox_takes_a_base_url_without_a_version(
    run: Any, out: Path, provider: str, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roots of 0.1 hold such addresses, to which it added one."""
    monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{provider.upper()}_BASE_URL", f"{sandbox_url}/{provider}")
    assert run("keys", "test", provider).code == 0
    model = OPENAI if provider == "openai" else GEMINI
    assert run("generate", "a fox", "--model", model, "--out", out).code == 0


def test_a_key_is_tested_without_making_a_picture(run: Any, sandbox_url: str) -> None:
    result = run("keys", "test", "openai")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith("OpenAI took the key and lists ")
    assert "gpt-image-2" in run("keys", "test", "openai", "--json").json["listed"]
    assert {call["method"] for call in httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]} == {"GET"}


def test_a_key_that_is_not_taken_fails_its_test(run: Any, sandbox_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY", "invalid-key")
    result = run("keys", "test", "gemini")
    assert (result.code, result.stdout) == (1, "")
    assert "refused the key" in result.stderr


def test_the_usual_variables_come_last(run: Any, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", canary)
    assert "gemini: key from INVOKEAI_EXTERNAL_GEMINI_API_KEY" in run("keys", "list").stdout
    monkeypatch.delenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY")
    assert "gemini: key from GOOGLE_API_KEY" in run("keys", "list").stdout


@pytest.mark.parametrize("key", ["", "two words", "schlüssel-mit-umlaut"])
def test_a_key_that_is_none_is_not_written(key: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    result = run("keys", "set", "gemini")
    assert result.code == 2
    assert "keys set gemini" in result.stderr
    assert not (tmp_path / "root" / "api_keys.yaml").exists()


def test_the_sandbox_serves_both_providers_until_it_is_interrupted(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = program("sandbox", "--port", 0)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(3)]
    exported = dict(re.findall(r"(\w+)=(\S+)", "".join(lines)))
    answer = program("generate", "a fox", "--model", GEMINI, "--out", out, "--json", env={**os.environ, **exported})
    assert [notice["code"] for notice in finished(answer).json["notices"]] == ["plain_http", "sandbox"]
    port = int(re.findall(r":(\d+)", lines[0])[0])
    taken = finished(program("sandbox", "--port", port))
    assert f"Port {port} cannot be used" in taken.stderr
    assert taken.code == 2
    process.send_signal(signal.SIGINT)
    ended = finished(process)
    assert ended.stderr == ""
    assert ended.code in (0, 130)


def test_the_demo_makes_pictures_with_both_providers(run: Any, out: Path) -> None:
    told = run("demo", "--out", out, "--json").json
    assert {row["model"].split("/")[0] for row in told} == set(PROVIDER_IDS)
    assert sorted(Path(row["path"]) for row in told) == sorted(out.iterdir())
    table = run("demo", "--out", out).stdout
    assert "Would have cost" in table
    assert "transparent" in table


def test_help_comes_without_loading_what_it_does_not_need() -> None:
    code = (
        "import sys; from invokeai_external.cli.main import main; assert main(['generate', '--help']) == 0;"
        "print([name for name in ('pydantic', 'httpx', 'PIL', 'fastapi', 'rich', 'yaml') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--thinking-level" in shown
    assert shown.splitlines()[-1] == "[]"


def test_a_command_is_completed_without_loading_what_it_does_not_need() -> None:
    code = (
        "import atexit, sys; from invokeai_external.cli.main import main;"
        "names = ('pydantic', 'httpx', 'PIL', 'fastapi', 'rich', 'yaml');"
        "atexit.register(lambda: print([name for name in names if name in sys.modules]));"
        "sys.argv[0] = 'invokeai-external'; main([])"
    )
    asked = {"_INVOKEAI_EXTERNAL_COMPLETE": "complete_bash", "COMP_WORDS": "invokeai-external ge", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **asked}, check=True).stdout
    assert shown.splitlines() == ["generate", "[]"]


def test_no_command_shows_the_help(run: Any) -> None:
    assert "Commands:" in run().stdout
    assert "remove" in run("keys").stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").stdout)


def test_the_choices_of_the_command_line_are_the_registrys() -> None:
    assert tuple(name.value for name in ProviderName) == PROVIDER_IDS


def test_a_picture_that_takes_no_settings_is_saved_without_them(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a JPEG does whose own EXIF fills all the room there is."""
    from invokeai_external.images import metadata
    from invokeai_external.images.errors import ImageError

    def refuse(*_: object) -> bytes:
        raise ImageError("There is no room.", "too_many_bytes")

    monkeypatch.setattr(metadata, "parts_with", refuse)
    result = run("generate", "a fox", "--out", out, "--sandbox", "--metadata", "embed", "--json")
    assert result.code == 0
    assert len(list(out.iterdir())) == 1
    (notice,) = (notice for notice in result.json["notices"] if notice["code"] == "no_metadata")
    assert "There is no room." in notice["message"]
