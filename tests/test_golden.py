"""What users and their scripts rely on stays as 0.1 had it; ``tests/golden/README.md`` says how these files work."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import typer
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.requests import Request

from invokeai_external import AspectRatio, GenerationRequest, InputImage, Service, Size, load_settings
from invokeai_external.cli.app import app
from invokeai_external.cli.entry_point import main
from invokeai_external.errors import ExternalError, RequestError
from invokeai_external.images import metadata_files
from invokeai_external.invoke.gallery import fallback, result_cache
from invokeai_external.root_folder import KEPT_FOLDER, RESCUED_FOLDER
from invokeai_external.sandbox import create_app

from .golden.compare import check, differences, shape
from .support.guard import CANARY
from .support.providers import IN_INVOKE
from .support.servers import SandboxServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "invokeai_external"
PICTURES = ROOT / "tests" / "fixtures" / "root_0_1" / "pictures"
GEMINI, OPENAI = "gemini/gemini-nano-banana-2.1", "openai/gpt-image-2.5-flare"
PROGRAM_S = 30.0

Json = dict[str, Any]


# The comparison itself


def test_a_field_that_is_missing_or_changed_is_found() -> None:
    golden = {"a": [{"b": 1}], "c": None}
    assert differences(golden, {"a": [{"b": 1}], "c": None, "d": 2}, may_grow=True) == []
    assert differences(golden, {"a": [{"b": 1}], "c": None, "d": 2}, may_grow=False) == ["/d: was added"]
    assert differences(golden, {"a": [{"b": True}]}, may_grow=True) == ["/a/0/b: was 1, is true", "/c: is missing"]
    assert differences(golden, {"a": [], "c": None}, may_grow=True) == ['/a: was [{"b": 1}], is []']
    assert differences({"a": "nothing | text", "b": []}, {"a": "text", "b": [1]}, may_grow=True) == []


def test_the_shape_of_a_list_is_that_of_all_its_entries() -> None:
    entries = [{"a": 1, "b": None}, {"a": 1.5, "b": "x", "c": True}, {"a": 2, "b": None}]
    assert shape(entries) == [{"a": "number", "b": "nothing | text", "c?": "true or false"}]
    assert shape([]) == []


# The command line


def test_flags() -> None:
    check("flags", _flags(typer.main.get_command(app)), may_grow=True)


def _flags(command: Any) -> Json:
    """A command's arguments and options with their defaults, and its commands."""
    found = {parameter.name: _flag(parameter) for parameter in command.params}
    below = {name: _flags(child) for name, child in getattr(command, "commands", {}).items()}
    return {"parameters": found, **({"commands": below} if below else {})}


def _flag(parameter: Any) -> Json:
    kind: Json = {
        "kind": parameter.param_type_name,
        "names": list(parameter.opts) if parameter.param_type_name == "option" else [],
        "type": parameter.type.name,
        "required": parameter.required,
        "repeatable": bool(parameter.multiple) if parameter.param_type_name == "option" else parameter.nargs != 1,
        "default": parameter.default if isinstance(parameter.default, bool | int | None) else str(parameter.default),
    }
    if choices := getattr(parameter.type, "choices", None):
        kind["choices"] = [str(getattr(choice, "value", choice)) for choice in choices]
    return kind


@dataclass(frozen=True, slots=True)
class Case:
    """A command and what it meets; ``{out}``, ``{root}`` and ``{inputs}`` in it are folders."""

    command: str
    faults: Sequence[Json] = ()
    without_keys: bool = False
    user_file: str = ""


_REFUSED = {"provider": "gemini", "fault": "refusal_text"}
_EDIT = "--init {inputs}/mask-openai.png --ref {inputs}/words-openai.jpg"
_TO_OUT = "--out {out} --json"
JSON_OUTPUT: Mapping[str, Case] = {
    "generate with gemini": Case(
        f"generate 'a fox' --model {GEMINI} -n 2 --seed 7 --size 1000x1000 --quality high --sandbox {_TO_OUT}"
    ),
    "generate with openai": Case(f"generate 'a fox' --model {OPENAI} -n 2 --sandbox {_TO_OUT}"),
    "generate in part": Case(f"generate 'a fox' --model {GEMINI} -n 2 {_TO_OUT}", faults=[_REFUSED]),
    "generate for nothing": Case(f"generate 'a fox' --model {GEMINI} {_TO_OUT}", faults=[_REFUSED]),
    "dry run with gemini": Case(f"generate 'a fox' --model {GEMINI} {_EDIT} --dry-run {_TO_OUT}"),
    "dry run with openai": Case(f"generate 'a fox' --model {OPENAI} -n 2 --dry-run {_TO_OUT}"),
    "dry run of an edit with openai": Case(f"generate 'a fox' --model {OPENAI} {_EDIT} --dry-run {_TO_OUT}"),
    "dry run without a price": Case("generate 'a fox' --model openai/gpt-image-9 --dry-run --json"),
    "models": Case("models --all --json"),
    "keys list": Case("keys list --json --root {root}"),
    "keys list without keys": Case("keys list --json --root {root}", without_keys=True),
    "keys test": Case("keys test openai --json"),
    "recall": Case("recall {inputs}/words-gemini.png --json"),
    "demo": Case(f"demo {_TO_OUT}"),
    "usage": Case("generate --json --no-such-option"),
    "settings": Case("models --json --root {root}", user_file="settings: {concurrency: 0}"),
    "not configured": Case(f"generate 'a fox' {_TO_OUT}", without_keys=True),
    "unknown provider": Case(f"generate 'a fox' --model nobody/model {_TO_OUT}"),
    "capability": Case(f"generate 'a fox' --model {OPENAI} --quality best {_TO_OUT}"),
    "invalid request": Case(f"generate ' ' --model {OPENAI} {_TO_OUT}"),
    "moderation": Case(
        f"generate 'a fox' --model {OPENAI} {_TO_OUT}", faults=[{"provider": "openai", "fault": "moderation"}]
    ),
}

EXIT_CODES: Mapping[str, Case] = {
    "version": Case("--version"),
    "help": Case("--help"),
    "no command": Case(""),
    "unknown command": Case("paint"),
    "unknown option": Case("generate 'a fox' --no-such-option"),
    "generate": Case(f"generate 'a fox' --model {OPENAI} --sandbox --out {{out}}"),
    "key refused": Case(
        f"generate 'a fox' --model {OPENAI} --out {{out}}",
        faults=[{"provider": "openai", "fault": "organization_not_verified"}],
    ),
    "dry run": Case(f"generate 'a fox' --model {OPENAI} --dry-run"),
    "no key": Case("generate 'a fox' --out {out}", without_keys=True),
    "no such model": Case("generate 'a fox' --model no-such-model --out {out}"),
    "no such picture": Case(f"generate 'a fox' --model {OPENAI} --init {{out}}/none.png --out {{out}}"),
    "no folder": Case(f"generate 'a fox' --model {OPENAI} --out {{inputs}}/words-gemini.png"),
    "more than the model can do": Case(f"generate 'a fox' --model {OPENAI} --quality best --out {{out}}"),
    "broken settings": Case("models --root {root}", user_file="settings: {concurrency: 0}"),
    "models": Case("models"),
    "keys list": Case("keys list"),
    "keys test": Case("keys test gemini"),
    "keys test without a key": Case("keys test gemini", without_keys=True),
    "keys remove": Case("keys remove gemini --root {root}"),
    "recall": Case("recall {inputs}/words-openai.jpg"),
    "recall of no picture": Case("recall {root}/invokeai_external.yaml"),
    "install without a root": Case("install --root {out}"),
    "doctor without a root": Case("doctor --root {out}"),
}


@pytest.fixture
def perform(
    tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs a case; gives its exit code and what it printed on standard output."""

    def run(case: Case) -> tuple[int, str]:
        folders = {"out": tmp_path / "out", "root": tmp_path / "root", "inputs": PICTURES}
        folders["root"].mkdir(exist_ok=True)
        (folders["root"] / "invokeai_external.yaml").write_text(case.user_file, encoding="utf-8")
        httpx.delete(f"{sandbox_url}/sandbox/faults").raise_for_status()
        for fault in case.faults:
            httpx.post(f"{sandbox_url}/sandbox/faults", json=fault).raise_for_status()
        arguments = [part.format(**folders) for part in shlex.split(case.command)]
        with monkeypatch.context() as patch:
            for provider in IN_INVOKE if case.without_keys else ():
                patch.delenv(f"INVOKEAI_EXTERNAL_{provider.upper()}_API_KEY")
            code = main(arguments)
        printed = capsys.readouterr()
        assert CANARY not in printed.out + printed.err
        return code, printed.out

    return run


def test_json_output(perform: Any) -> None:
    now = {}
    for name, case in JSON_OUTPUT.items():
        code, printed = perform(case)
        now[name] = {"command": case.command, "exit_code": code, "output": shape(json.loads(printed))}
    check("json_output", now, may_grow=True)


def test_exit_codes(perform: Any, tmp_path: Path, sandbox_url: str) -> None:
    now = {name: {"command": case.command, "exit_code": perform(case)[0]} for name, case in EXIT_CODES.items()}
    now["interrupted"] = _interrupted(tmp_path / "interrupted", sandbox_url)
    check("exit_codes", now, may_grow=True)


def _interrupted(out: Path, sandbox_url: str) -> Json:
    """What Ctrl-C leaves of a run of two, the first of which is there."""
    fault = {"provider": "gemini", "fault": "slow", "seconds": 60}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=fault).raise_for_status()
    command = f"generate 'a fox' --model {GEMINI} -n 2 --json"
    process = subprocess.Popen(
        [sys.executable, "-m", "invokeai_external", *shlex.split(command), "--out", out],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + PROGRAM_S
    while not list(out.glob("[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=PROGRAM_S)
    return {"command": command, "exit_code": process.returncode, "output": shape(json.loads(printed))}


# Codes


def test_error_and_notice_codes() -> None:
    now = {
        "errors": {
            code: sorted({_exit_code(kind) for kind in kinds}) for code, kinds in sorted(_errors_by_code().items())
        },
        "notices": sorted(set(_notice_codes())),
    }
    for codes in now.values():
        assert codes
    check("codes", {**now, "notices": dict.fromkeys(now["notices"], True)}, may_grow=True)


def _errors_by_code() -> dict[str, list[type[ExternalError]]]:
    for module in ("cli.image_files", "cli.report", "invoke.gallery.fallback"):
        importlib.import_module(f"invokeai_external.{module}")
    found: dict[str, list[type[ExternalError]]] = {}
    for kind in _below(ExternalError):
        # The tests make some, too.
        if kind.__module__.startswith("invokeai_external.") and "code" in vars(kind):
            found.setdefault(kind.code, []).append(kind)
    return found


def _below(kind: type[ExternalError]) -> Iterator[type[ExternalError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _exit_code(kind: type[ExternalError]) -> int:
    return 130 if kind.code == "cancelled" else 2 if issubclass(kind, RequestError) else 1


def _notice_codes() -> Iterator[str]:
    """The codes of all notices that the code can make, as they are in it."""
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Notice"), args=[ast.Constant(value=str(code)), *_]):
                    yield code


# What is sent, and the metadata of the images


@pytest.fixture(scope="module")
def inputs() -> Mapping[str, InputImage]:
    """The images that go in, the same bytes for ever; the mask is white where to change."""
    mask = Image.new("L", (512, 384))
    mask.paste(255, (128, 96, 384, 288))
    file = io.BytesIO()
    mask.save(file, "PNG")
    base, reference = ((PICTURES / name) for name in ("mask-openai.png", "words-openai.jpg"))
    return {
        "init_image": InputImage(base.read_bytes(), base.name),
        "mask": InputImage(file.getvalue(), "mask.png"),
        "reference": InputImage(reference.read_bytes(), reference.name),
    }


def requests(inputs: Mapping[str, InputImage]) -> dict[str, GenerationRequest]:
    """A request of each kind."""
    base, mask, references = inputs["init_image"], inputs["mask"], (inputs["reference"],)
    return {
        "openai: words": GenerationRequest(prompt="a fox in snow ❄", model=OPENAI),
        "openai: several, options": GenerationRequest(
            prompt="a fox",
            model=OPENAI,
            n=2,
            size=Size(1536, 864),
            options={"quality": "high", "background": "opaque", "moderation": "low", "output_format": "webp"},
        ),
        "openai: ratio": GenerationRequest(
            prompt="a fox", model=OPENAI, aspect_ratio=AspectRatio(16, 9), image_size="1K", seed=7
        ),
        "openai: previews": GenerationRequest(prompt="a fox", model=OPENAI, previews=2),
        "openai: edit": GenerationRequest(prompt="a fox", model=OPENAI, init_image=base),
        "openai: references": GenerationRequest(prompt="a fox", model=OPENAI, references=references * 2),
        "openai: mask": GenerationRequest(
            prompt="a fox", model=OPENAI, init_image=base, mask=mask, references=references, n=2
        ),
        "openai: previews of an edit": GenerationRequest(
            prompt="a fox", model=OPENAI, init_image=base, mask=mask, previews=1
        ),
        "gemini: words": GenerationRequest(prompt="a fox in snow ❄", model=GEMINI),
        "gemini: several, seed, options": GenerationRequest(
            prompt="a fox",
            model=GEMINI,
            n=2,
            seed=7,
            aspect_ratio=AspectRatio(16, 9),
            image_size="2K",
            options={"temperature": 0.5, "thinking_level": "high"},
        ),
        "gemini: previews": GenerationRequest(prompt="a fox", model=GEMINI, size=Size(1024, 1024), previews=2),
        "gemini: edit": GenerationRequest(prompt="a fox", model=GEMINI, init_image=base),
        "gemini: references": GenerationRequest(prompt="a fox", model=GEMINI, references=references * 2),
        "gemini: mask": GenerationRequest(
            prompt="a fox", model=GEMINI, init_image=base, mask=mask, references=references
        ),
    }


@dataclass
class Recording:
    """The sandbox, which also writes down what it is sent."""

    sandbox: Any
    requests: list[Json] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.sandbox(scope, receive, send)
            return
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        waiting = iter(messages)

        async def again() -> Any:
            return next(waiting, None) or await receive()

        copies = iter(messages)

        async def copied() -> Any:
            return next(copies)

        self.requests.append(await _recorded(Request(scope, copied)))
        await self.sandbox(scope, again, send)


async def _recorded(request: Request) -> Json:
    headers = {name: request.headers[name] for name in _HEADERS if name in request.headers}
    kind = headers.get("content-type", "").partition(";")[0]
    found: Json = {
        "method": request.method,
        "path": str(request.url).removeprefix(str(request.base_url).rstrip("/")),
        "headers": {**headers, "content-type": kind} if kind else headers,
    }
    if kind == "multipart/form-data":
        async with request.form() as form:
            found["parts"] = [
                {
                    "name": name,
                    "filename": value.filename,
                    "content-type": value.content_type,
                    "image": _hashed(await value.read()),
                }
                if isinstance(value, UploadFile)
                else {"name": name, "value": value}
                for name, value in form.multi_items()
            ]
    elif kind:
        found["json"] = _without_images(await request.json())
    return json.loads(json.dumps(found).replace(CANARY, "KEY"))  # type: ignore[no-any-return]


# Those that we choose; the others are httpx's own.
_HEADERS = ("authorization", "x-goog-api-key", "content-type", "accept")


def _without_images(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _hashed(base64.b64decode(inner)) if name == "data" else _without_images(inner)
            for name, inner in value.items()
        }
    return [_without_images(inner) for inner in value] if isinstance(value, list) else value


def _hashed(data: bytes) -> str:
    """An image by its pixels if it is a PNG, which each release of zlib may pack in its own way; else by its bytes."""
    with Image.open(io.BytesIO(data)) as image:
        kind, what = image.format, f"{image.mode} {image.width}x{image.height}"
        content = image.tobytes() if kind == "PNG" else data
    return f"{kind} {what} sha256 {hashlib.sha256(content).hexdigest()}"


def test_requests_and_metadata(inputs: Mapping[str, InputImage], tmp_path: Path) -> None:
    recording = Recording(create_app())
    sent: Json = {}
    written: Json = {}

    async def make(url: str) -> None:
        environ = {
            **{f"INVOKEAI_EXTERNAL_{provider.upper()}_API_KEY": CANARY for provider in IN_INVOKE},
            "INVOKEAI_EXTERNAL_OPENAI_BASE_URL": f"{url}/openai/v1",
            "INVOKEAI_EXTERNAL_GEMINI_BASE_URL": f"{url}/gemini/v1beta",
        }
        async with Service(load_settings(tmp_path, environ)) as service:
            for name, request in requests(inputs).items():
                image = (await service.generate(request)).images[0]
                written[name] = shape(metadata_files.read(metadata_files.embed(image.data, image.metadata)))
                # Calls that go out side by side arrive in any order.
                sent[name] = sorted(recording.requests, key=json.dumps)
                recording.requests.clear()
            for provider in IN_INVOKE:
                await service.check_connection(provider)
                sent[f"{provider}: list of models"] = list(recording.requests)
                recording.requests.clear()

    with SandboxServer(recording) as server:
        anyio.run(make, server.url)
    check("requests", sent, may_grow=False)
    check("metadata", written, may_grow=True)


# The folders that hold paid images


def test_folders(inputs: Mapping[str, InputImage], tmp_path: Path) -> None:
    request = requests(inputs)["openai: mask"]

    async def make() -> Any:
        async with Service(load_settings(tmp_path, {}), sandbox=True) as service:
            return await service.generate(request)

    result = anyio.run(make)
    entry = result_cache.ResultCache(tmp_path).store(result_cache.fingerprint("system", "sandbox", request), result)
    fallback.FallbackFolder(tmp_path).save(result.images[:1], None)
    [rescued] = (tmp_path / RESCUED_FOLDER).iterdir()
    now = {
        "kept": {
            "folder": KEPT_FOLDER,
            "name": re.sub("[0-9a-f]{64}", "FINGERPRINT", entry.name),
            "files": sorted(path.name for path in entry.iterdir()),
            "result.json": shape(json.loads((entry / "result.json").read_text(encoding="utf-8"))),
        },
        "rescued": {"folder": RESCUED_FOLDER, "name": re.sub(r"-.*\.", "-RANDOM.", rescued.name)},
    }
    check("folders", now, may_grow=True)
