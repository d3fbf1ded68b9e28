"""The package as a library: what a request accepts, how images are saved and shown, calls without async code."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from invokeai_external import (
    AspectRatio,
    ExternalError,
    GeneratedImage,
    GenerationRequest,
    InputImage,
    InvalidRequestError,
    Limits,
    NotSavedError,
    Payer,
    Progress,
    Purse,
    Received,
    Registry,
    RequestError,
    Sending,
    Service,
    ServiceStateError,
    Settings,
    SettingsError,
    Size,
    generate_sync,
    load_settings,
    read_image,
    read_mask,
)
from invokeai_external.images import metadata_files

from .support.samples import encoded, noisy
from .support.signing import signed

OPENAI = "openai/gpt-image-2.5-flare"
FILE = encoded(noisy((8, 8)), "PNG")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path, {})


def image(data: bytes = FILE, mime_type: str = "image/png") -> GeneratedImage:
    """An image as a service hands it over."""
    from invokeai_external.service.library_files import save_image

    return GeneratedImage(
        data=data, mime_type=mime_type, size=Size(8, 8), metadata={"positive_prompt": "a fox"}, writer=save_image
    )


# What a request accepts


def test_sizes_may_be_text_or_numbers_and_images_may_be_bytes() -> None:
    request = GenerationRequest(
        prompt="a fox", size="1536x864", init_image=FILE, references=[FILE, InputImage(FILE, "b.png")]
    )
    assert request.size == Size(1536, 864) == GenerationRequest(prompt="a fox", size=(1536, 864)).size
    assert request.init_image == InputImage(FILE, "image")
    assert request.references == (InputImage(FILE, "image"), InputImage(FILE, "b.png"))
    by_ratio = GenerationRequest(prompt="a fox", aspect_ratio="16:9")
    assert by_ratio == GenerationRequest(prompt="a fox", aspect_ratio=(16, 9))
    assert by_ratio.aspect_ratio == AspectRatio(16, 9)


BAD_VALUES: list[dict[str, Any]] = [
    {"prompt": 7},
    {"prompt": b"a fox"},
    {"model": 7},
    {"n": "2"},
    {"n": 1.5},
    {"n": True},
    {"size": "large"},
    {"size": "0x0"},
    {"size": (0, 5)},
    {"size": (1024,)},
    {"size": 1024},
    {"size": ("a", "b")},
    {"aspect_ratio": "wide"},
    {"aspect_ratio": "0:9"},
    {"aspect_ratio": 1.5},
    {"image_size": 2},
    {"seed": "7"},
    {"init_image": "a.png"},
    {"init_image": Path("a.png")},
    {"mask": FILE},
    {"references": FILE},
    {"references": InputImage(FILE, "a.png")},
    {"references": ["a.png"]},
    {"options": ["quality"]},
    {"options": {1: "high"}},
    {"options": {"quality": None}},
    {"previews": "2"},
]


@pytest.mark.parametrize("value", BAD_VALUES, ids=str)
def test_a_value_of_another_type_is_an_error_of_the_request(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        GenerationRequest(**{"prompt": "a fox", **value})
    assert next(iter(value)) in caught.value.message


ODD_REQUESTS: list[dict[str, Any]] = [
    {"prompt": ""},
    {"prompt": "\ud800"},
    {"prompt": "a\x00fox"},
    {"prompt": "x" * 300_000},
    {"model": "nonsense"},
    {"model": "nobody/nothing"},
    {"model": "openai/"},
    {"model": "/"},
    {"model": "openai/\ud800"},
    {"model": "openai/../../x?y#z"},
    {"n": 0},
    {"n": -1},
    {"n": 10**9},
    {"size": (999999, 1)},
    {"size": "1x1", "aspect_ratio": "1:1"},
    {"image_size": "nonsense"},
    {"image_size": ""},
    {"seed": -1},
    {"seed": 10**30},
    {"init_image": b""},
    {"init_image": b"nonsense"},
    {"init_image": FILE[:40]},
    {"mask": InputImage(FILE, "m.png")},
    {"init_image": FILE, "mask": InputImage(b"nonsense", "m.png")},
    {"references": [b"nonsense"]},
    {"references": [FILE] * 100},
    {"options": {"nonsense": "x"}},
    {"options": {"quality": "\ud800"}},
    {"options": {"temperature": float("nan")}},
    {"options": {"quality": 10**400}},
    {"previews": -1},
    {"previews": 99},
]


@pytest.mark.anyio
@pytest.mark.parametrize("model", [OPENAI, "gemini/gemini-nano-banana-2.1"])
@pytest.mark.parametrize("odd", ODD_REQUESTS, ids=lambda odd: str(odd)[:40])
async def test_whatever_goes_wrong_is_an_external_error(odd: dict[str, Any], model: str, settings: Settings) -> None:
    request = GenerationRequest(**{"prompt": "a fox", "model": model, **odd})
    async with Service(settings, sandbox=True) as service:
        for make in (service.plan, service.dry_run):
            with suppress(RequestError):
                make(request)
        with suppress(ExternalError):
            assert (await service.generate(request)).images


@pytest.mark.anyio
@pytest.mark.parametrize(
    "url", ["nonsense", "https://", "http://[::1", "ftp://x.test/v1", "https://x.test:99999", "\x00"]
)
@pytest.mark.parametrize("key", ["sk-1234567890", "\x00", "kéy", "a\nb", ""])
async def test_whatever_is_wrong_with_a_key_or_a_url_is_an_external_error(url: str, key: str, tmp_path: Path) -> None:
    environ = {"INVOKEAI_EXTERNAL_OPENAI_API_KEY": key, "INVOKEAI_EXTERNAL_OPENAI_BASE_URL": url}
    with pytest.raises(ExternalError):
        async with Service(load_settings(tmp_path, environ)) as service:
            await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_only_regular_files_up_to_a_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(20_000_000_000)
    for path in (tmp_path / "pipe", tmp_path / "sparse", tmp_path, Path("/dev/zero")):
        for read in (read_image, read_mask):
            with pytest.raises(InvalidRequestError) as caught:
                read(path)
            assert path.name in caught.value.message
    # Every file of a test is searched for the key, in memory.
    (tmp_path / "sparse").unlink()


def test_files_are_read_as_inputs(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(FILE)
    assert read_image(path) == read_image(str(path)) == InputImage(FILE, "a.png")
    white = Image.new("L", (8, 8))
    white.paste(255, (0, 0, 4, 4))
    white.save(path)
    assert read_mask(path).marks is None
    assert read_mask(path, marks="black").marks == "black"
    for wrong in ("redd", "", 5):
        with pytest.raises(InvalidRequestError):
            read_mask(path, marks=wrong)  # type: ignore[arg-type]
    Image.new("L", (8, 8)).save(path)
    for read in (read_mask, lambda _: read_image(tmp_path / "b.png"), lambda _: read_mask(tmp_path)):
        with pytest.raises(InvalidRequestError):
            read(path)


# Saving and showing images


def test_an_image_is_saved_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    image().save(path)
    assert metadata_files.read(path.read_bytes()) == {"positive_prompt": "a fox"}
    assert [file.name for file in tmp_path.iterdir()] == ["fox.png"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


def test_an_image_never_replaces_another_file_unless_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(b"something else")
    with pytest.raises(NotSavedError) as caught:
        image().save(str(path))
    assert str(path) in caught.value.message
    assert path.read_bytes() == b"something else"
    image().save(path, overwrite=True)
    assert metadata_files.read(path.read_bytes()) == {"positive_prompt": "a fox"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_signed_image_is_saved_as_it_is_with_its_settings_beside_it(tmp_path: Path) -> None:
    path, beside = tmp_path / "fox.png", tmp_path / "fox.png.json"
    data = signed(FILE, "image/png")
    image(data).save(path)
    assert path.read_bytes() == data
    sidecar = metadata_files.read_sidecar(beside.read_bytes())
    assert sidecar is not None
    assert sidecar.metadata == {"positive_prompt": "a fox"}
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    path.unlink()
    with pytest.raises(NotSavedError):
        image(data).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["fox.png.json"]


def test_an_image_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "fox.png", tmp_path, tmp_path / ("x" * 300)):
        for overwrite in (False, True):
            with pytest.raises(NotSavedError):
                image().save(path, overwrite=overwrite)
    with pytest.raises(NotSavedError):
        replace(image(), writer=None).save(tmp_path / "fox.png")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_an_image_in_its_own_format() -> None:
    assert image()._repr_png_() == FILE
    jpeg = encoded(noisy((8, 8)), "JPEG")
    shown = image(jpeg, "image/jpeg")
    assert shown._repr_png_() is None
    assert base64.b64decode(shown._repr_mimebundle_()["image/jpeg"]) == jpeg
    assert len(shown._repr_mimebundle_()["text/plain"]) < 500


# Without async code


def test_images_are_made_without_async_code(settings: Settings) -> None:
    seen: list[Progress] = []
    request = GenerationRequest(model=OPENAI, prompt="a fox")
    result = generate_sync(request, settings=settings, sandbox=True, on_progress=seen.append)
    assert len(result.images) == 1
    assert [type(event) for event in seen] == [Sending, Received]


async def _inside_a_loop(make: Callable[[], Any]) -> Any:
    return make()


def test_it_works_where_an_event_loop_is_running(settings: Settings) -> None:
    request = GenerationRequest(model=OPENAI, prompt="a fox")
    result = asyncio.run(_inside_a_loop(lambda: generate_sync(request, settings=settings, sandbox=True)))
    assert len(result.images) == 1


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), ValueError("no")])
def test_what_on_progress_raises_reaches_the_caller_and_no_thread_is_left(
    raised: BaseException, settings: Settings
) -> None:
    def fail(_: Progress) -> None:
        raise raised

    before = set(threading.enumerate())
    request = GenerationRequest(model=OPENAI, prompt="a fox")
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is asserted below
        generate_sync(request, settings=settings, sandbox=True, on_progress=fail)
    assert caught.value is raised
    # Those of its event loop end by themselves, and may be at it still.
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)


def test_an_error_reaches_the_caller(settings: Settings) -> None:
    with pytest.raises(InvalidRequestError):
        generate_sync(GenerationRequest(model=OPENAI, prompt="a fox", n=99), settings=settings, sandbox=True)


def test_without_settings_those_of_the_usual_folder_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "invokeai_external.yaml").write_text("models:\n  openai/mine:\n    base: gpt-image-2\n")
    monkeypatch.setenv("INVOKEAI_ROOT", str(tmp_path))
    with pytest.raises(ExternalError):
        generate_sync(GenerationRequest(model=OPENAI, prompt=""), sandbox=True)


# The service's own arguments


@pytest.mark.anyio
async def test_a_service_sends_over_the_client_that_it_is_given(tmp_path: Path) -> None:
    """It is not closed, and a redirect is not followed though the client would follow it."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(307, headers={"location": "https://elsewhere.example/"})

    environ = {"INVOKEAI_EXTERNAL_OPENAI_API_KEY": "sk-1234567890"}
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), follow_redirects=True) as given:
        async with Service(load_settings(tmp_path, environ), http_client=given) as service:
            with pytest.raises(ExternalError) as caught:
                await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))
        assert not given.is_closed
    assert caught.value.status == 307
    assert [request.url.host for request in asked] == ["api.openai.com"]


@pytest.mark.anyio
async def test_a_response_that_a_client_has_read_already_is_used(tmp_path: Path) -> None:
    body = {"data": [{"b64_json": base64.b64encode(FILE).decode()}]}
    given = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=body)))
    environ = {"INVOKEAI_EXTERNAL_OPENAI_API_KEY": "sk-1234567890"}
    async with given, Service(load_settings(tmp_path, environ), http_client=given) as service:
        result = await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))
    assert [image.data for image in result.images] == [FILE]


def test_the_sandbox_and_a_client_exclude_each_other(settings: Settings) -> None:
    with pytest.raises(InvalidRequestError):
        Service(settings, sandbox=True, http_client=httpx.AsyncClient())


@pytest.mark.anyio
async def test_a_service_can_be_closed_without_a_block(settings: Settings) -> None:
    service = Service(settings, sandbox=True)
    request = GenerationRequest(model=OPENAI, prompt="a fox")
    assert (await service.generate(request)).images
    await service.aclose()
    await service.aclose()
    with pytest.raises(ServiceStateError):
        await service.generate(request)


def test_the_former_name_of_dry_run_works_and_names_the_new_one(settings: Settings) -> None:
    request = GenerationRequest(model=OPENAI, prompt="a fox")
    service = Service(settings, sandbox=True)
    with pytest.warns(DeprecationWarning, match="dry_run") as warned:
        former = service.preview(request)
    assert [warning.filename for warning in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert service.dry_run(request) == former


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: Size(0, 1), InvalidRequestError),
        (lambda: Size(1, -1), InvalidRequestError),
        (lambda: Size(1.5, 1), InvalidRequestError),  # type: ignore[arg-type]
        (lambda: Size("1", 1), InvalidRequestError),  # type: ignore[arg-type]
        (lambda: Size(True, 1), InvalidRequestError),
        (lambda: Size.parse("0x5"), InvalidRequestError),
        (lambda: Size.parse("large"), InvalidRequestError),
        (lambda: AspectRatio(1, 0), InvalidRequestError),
        (lambda: AspectRatio.parse("wide"), InvalidRequestError),
        (lambda: InputImage("fox.png", "fox.png"), InvalidRequestError),  # type: ignore[arg-type]
        (lambda: read_image("a\0b"), InvalidRequestError),
        (lambda: image().save("a\0b"), NotSavedError),
        (lambda: Registry().resolve(None), InvalidRequestError),  # type: ignore[arg-type]
        (lambda: Service("a folder"), InvalidRequestError),  # type: ignore[arg-type]
        (lambda: Limits(concurrency=0), SettingsError),
        (lambda: Limits(max_wait=3), SettingsError),  # type: ignore[call-arg]
        (lambda: Limits.model_validate({"metadata": "embd"}), SettingsError),
    ],
)
def test_a_value_that_cannot_be_made_is_an_external_error(
    make: Callable[[], object], kind: type[ExternalError]
) -> None:
    with pytest.raises(ExternalError) as caught:
        make()
    assert type(caught.value) is kind


def test_an_error_of_the_limits_names_the_field_and_asks_whether_another_was_meant() -> None:
    with pytest.raises(SettingsError) as caught:
        Limits(max_wait=3)  # type: ignore[call-arg]
    assert [fact for fact in ("settings.max_wait", "max_wait_s?") if fact not in str(caught.value)] == []


def test_an_error_of_the_limits_asks_nothing_about_a_name_that_is_right() -> None:
    with pytest.raises(SettingsError) as caught:
        Limits(concurrency=0)
    assert caught.value.hint is None


@pytest.mark.parametrize("call", ["plan", "dry_run"])
def test_a_prompt_in_place_of_a_request_is_an_external_error(call: str, settings: Settings) -> None:
    with pytest.raises(InvalidRequestError, match="GenerationRequest"):
        getattr(Service(settings, sandbox=True), call)("a red fox")
    with pytest.raises(InvalidRequestError, match="GenerationRequest"):
        generate_sync("a red fox", settings=settings, sandbox=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Purse(max_cost_usd="0.02"),  # type: ignore[arg-type]
        lambda: Purse(max_cost_usd=float("nan")),
        lambda: Purse(max_cost_usd=float("inf")),
        lambda: Purse(max_cost_usd=-1),
        lambda: Purse(max_cost_usd=True),
        lambda: Purse(payer=Payer(tag=5)),  # type: ignore[arg-type]
        lambda: Purse(payer="me"),  # type: ignore[arg-type]
        lambda: generate_sync(GenerationRequest(prompt="x"), purse=5, sandbox=True),  # type: ignore[arg-type]
        lambda: read_image(5),  # type: ignore[arg-type]
        lambda: read_mask(None),  # type: ignore[arg-type]
        lambda: load_settings(5),  # type: ignore[arg-type]
    ],
)
def test_an_argument_of_the_wrong_type_is_an_error_of_ours(wrong: Callable[[], object]) -> None:
    with pytest.raises(InvalidRequestError):
        wrong()


def test_an_image_is_saved_at_a_path() -> None:
    with pytest.raises(InvalidRequestError):
        image().save(5)  # type: ignore[arg-type]
