"""What a request gives: images with their size, cost, metadata and notices."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import respx
from PIL import Image
from pydantic import SecretStr

from invokeai_external.errors import ContentBlockedError, InvalidResponseError
from invokeai_external.images import metadata_files
from invokeai_external.images.formats.containers import EXTENSIONS
from invokeai_external.settings.settings import Credentials, Settings
from invokeai_external.sizing import Size

from ..support import samples
from ..support.raw_server import RawServer, answer
from ..support.samples import chunks, encoded
from .common import (
    ANSWER,
    GEMINI,
    MODELS,
    OPENAI,
    PNG_1X1,
    URL,
    USUAL_TYPE,
    Order,
    candidate,
    generate,
    png_file,
    received_calls,
    relay,
    settings_of,
)

pytestmark = pytest.mark.anyio


@MODELS
async def test_an_image_has_its_size_cost_and_metadata(model: str, sandbox_url: str, tmp_path: Path) -> None:
    result = await generate(settings_of(tmp_path), model, size=Size(1024, 1024))
    (image,) = result.images
    assert image.size == Size(1024, 1024)
    assert result.usage is not None
    assert result.usage.output_image_tokens is not None
    assert result.usage.output_image_tokens > 0
    assert result.cost_usd is not None
    assert 0.001 < result.cost_usd < 1
    assert len(result.request_ids) == 1
    stored = metadata_files.read(metadata_files.embed(image.data, image.metadata))
    assert stored is not None
    assert stored["positive_prompt"] == "a red fox"
    assert stored["model"]["hash"] == model.replace("/", ":").join(["external:", ""])
    assert stored["external"]["request_id"] == result.request_ids[0]
    assert stored["external"]["cost_usd"] == result.cost_usd
    assert [notice.code for notice in result.notices] == ["plain_http", "sandbox"]
    assert [notice["code"] for notice in stored["external"]["notices"]] == ["sandbox"]


async def test_several_images_arrive_in_order_with_the_seed_of_each(sandbox_url: str, tmp_path: Path) -> None:
    result = await generate(settings_of(tmp_path), GEMINI, n=4, seed=0x7FFFFFFE)
    assert [image.seed for image in result.images] == [0x7FFFFFFE, 0x7FFFFFFF, 0, 1]
    assert len({image.data for image in result.images}) == 4
    assert len(set(result.request_ids)) == 4
    assert [image.metadata["seed"] for image in result.images] == [0x7FFFFFFE, 0x7FFFFFFF, 0, 1]


async def test_several_images_of_one_call_share_its_cost(sandbox_url: str, tmp_path: Path) -> None:
    result = await generate(settings_of(tmp_path), OPENAI, n=3)
    assert len(received_calls(sandbox_url)) == 1
    assert result.cost_usd is not None
    assert [image.cost_usd for image in result.images] == [pytest.approx(result.cost_usd / 3)] * 3


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (OPENAI, "url_result"),
        (OPENAI, "url_safe_base64"),
        (GEMINI, "url_safe_base64"),
        (GEMINI, "snake_case"),
        (OPENAI, "jpeg_answer"),
        (GEMINI, "jpeg_answer"),
    ],
)
async def test_unusual_responses_are_understood(
    model: str, fault: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, fault)
    (image,) = (await generate(settings_of(tmp_path), model, size=Size(1024, 1024))).images
    assert image.size == Size(1024, 1024)
    assert image.mime_type == ("image/jpeg" if fault == "jpeg_answer" else USUAL_TYPE[model])
    assert metadata_files.read(metadata_files.embed(image.data, image.metadata)) is not None


@pytest.mark.parametrize("previews", [0, 1])
async def test_an_image_that_is_only_a_thought_is_returned_with_a_notice(
    previews: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(GEMINI, "thought_only")
    result = await generate(settings_of(tmp_path), GEMINI, size=Size(1024, 1024), previews=previews)
    (image,) = result.images
    assert hashlib.sha256(image.data).hexdigest() in received_calls(sandbox_url)[0]["images"]
    assert "thought_image" in [notice.code for notice in result.notices]
    assert "thought_image" in [notice["code"] for notice in image.metadata["external"]["notices"]]  # type: ignore[index]


@MODELS
async def test_an_image_of_another_size_is_returned_with_a_notice(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "other_size", width=640, height=480)
    result = await generate(settings_of(tmp_path), model, size=Size(1024, 1024))
    assert result.images[0].size == Size(640, 480)
    (message,) = [notice.message for notice in result.notices if notice.code == "size_received"]
    assert "1024x1024" in message
    assert "640x480" in message
    recalled = result.images[0].metadata
    assert (recalled["width"], recalled["height"]) == (1024, 1024)
    received = recalled["external"]["received"]  # type: ignore[index]
    assert received == {"width": 640, "height": 480, "mime_type": USUAL_TYPE[model]}


async def test_images_are_returned_though_other_calls_fail(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(GEMINI, "refusal_text", times=2)
    result = await generate(settings_of(tmp_path), GEMINI, n=5)
    assert len(result.images) == 3
    assert [type(error) for error in result.errors] == [ContentBlockedError] * 2
    assert result.cost_usd is not None


async def test_an_image_with_too_many_pixels_is_kept(sandbox_url: str, tmp_path: Path) -> None:
    result = await generate(settings_of(tmp_path, max_image_pixels=1_000_000), OPENAI, size=Size(1024, 1024))
    (image,) = result.images
    assert (image.size, image.mime_type) == (Size(1024, 1024), USUAL_TYPE[OPENAI])
    assert "kept_as_received" in [notice.code for notice in result.notices]
    assert hashlib.sha256(image.data).hexdigest() in received_calls(sandbox_url)[0]["images"]


@MODELS
@pytest.mark.parametrize(("form", "told"), [("twice", 0), ("small_first", 1)])
async def test_of_too_many_images_each_counts_once_and_the_requested_size_first(
    model: str, form: str, told: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "several_images", form=form)
    result = await generate(settings_of(tmp_path), model, size=Size(1024, 1024))
    (image,) = result.images
    assert image.size == Size(1024, 1024)
    assert image.cost_usd == result.cost_usd
    assert [notice.code for notice in result.notices].count("more_images") == told
    assert result.errors == ()


async def test_of_several_sizes_the_requested_named_size_counts_without_a_ratio_too(tmp_path: Path) -> None:
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(file.data).decode()}}
        for file in (png_file(Image.new("RGB", (edge, edge)), "") for edge in (1024, 2048, 4096))
    ]
    with RawServer(answer(candidate(*parts, finishReason="STOP"))) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), GEMINI, image_size="2K")
    assert [image.size for image in result.images] == [Size(2048, 2048)]


async def test_of_three_thousand_images_only_the_requested_one_is_returned(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    files = [png_file(Image.new("L", (2, 1), number), "x").data for number in range(256)]
    data = [{"b64_json": base64.b64encode(files[number % 256]).decode()} for number in range(3000)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": data}))
    result = await generate(settings_of(tmp_path), OPENAI)
    assert [image.data for image in result.images] == files[:1]
    (notice,) = result.notices
    assert (notice.code, "256" in notice.message) == ("more_images", True)


@pytest.mark.parametrize(
    ("received", "expected"), [("AAAA", "AAA"), ("AABA", "ABA"), ("ABCA", "ABC"), ("AA!!A", "AAA")]
)
async def test_copies_fill_up_what_different_images_leave(
    received: str, expected: str, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    files = {letter: png_file(Image.new("L", (2, 1), number), "x").data for number, letter in enumerate("ABC")}
    data = [{"b64_json": base64.b64encode(files[one]).decode() if one in files else one} for one in received]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": data}))
    result = await generate(settings_of(tmp_path), OPENAI, n=3)
    assert [image.data for image in result.images] == [files[letter] for letter in expected]
    assert result.errors == ()


async def test_an_extra_image_replaces_one_that_cannot_be_read(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    good = [base64.b64encode(png_file(Image.new("L", (2, 1), n), "x").data).decode() for n in range(2)]
    data = [{"b64_json": text} for text in ("!", *good)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": data}))
    result = await generate(settings_of(tmp_path), OPENAI, n=2)
    assert (len(result.images), result.errors) == (2, ())


async def test_fewer_images_than_requested_are_a_partial_success(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json=ANSWER))
    result = await generate(settings_of(tmp_path), OPENAI, n=3)
    assert len(result.images) == 1
    assert [type(error) for error in result.errors] == [InvalidResponseError]
    assert result.errors[0].provider == "openai"


async def test_a_lost_image_among_others_is_an_error_with_its_provider(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answer = {"data": [{"b64_json": PNG_1X1}, {"b64_json": "!"}]}
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json=answer, headers={"x-request-id": "req_1"}))
    result = await generate(settings_of(tmp_path), OPENAI, n=2)
    (error,) = result.errors
    assert (error.provider, error.model, error.status, error.request_id) == (*OPENAI.split("/"), 200, "req_1")


async def test_the_metadata_of_an_image_have_only_its_own_notices(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(GEMINI, "other_size", width=640, height=480)
    result = await generate(settings_of(tmp_path), GEMINI, n=2, size=Size(1024, 1024))
    codes = sorted([n["code"] for n in image.metadata["external"]["notices"]] for image in result.images)  # type: ignore[index]
    assert codes == [["sandbox"], ["size_received", "sandbox"]]


def experimental(tmp_path: Path) -> Settings:
    found = settings_of(tmp_path, experimental="true")
    return replace(found, credentials={"openai": Credentials(SecretStr("sk-test"))})


@respx.mock
@pytest.mark.parametrize("output_format", ["gif", "svg"])
async def test_another_format_than_gif_or_svg_is_used_as_it_is(output_format: str, tmp_path: Path) -> None:
    respx.post(URL).mock(return_value=httpx.Response(200, json=ANSWER))
    result = await generate(experimental(tmp_path), OPENAI, options={"output_format": output_format})
    assert result.images[0].mime_type == "image/png"
    assert "svg_unchecked" not in [notice.code for notice in result.notices]


@respx.mock
@pytest.mark.parametrize(
    ("output_format", "data"),
    [("gif", b"GIF89a\1\0\1\0"), ("svg", b"<svg><g>"), ("svg", b"text"), ("gif", b"<html></html>")],
)
async def test_a_gif_or_svg_that_is_not_whole_is_an_error_that_says_so(
    output_format: str, data: bytes, tmp_path: Path
) -> None:
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}
    respx.post(URL).mock(return_value=httpx.Response(200, json=body))
    with pytest.raises(InvalidResponseError) as caught:
        await generate(experimental(tmp_path), OPENAI, options={"output_format": output_format})
    assert caught.value.may_be_billed


@respx.mock
async def test_a_saved_svg_has_its_settings_beside_it_and_is_shown_in_a_notebook(tmp_path: Path) -> None:
    data = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10"></svg>'
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}
    respx.post(URL).mock(return_value=httpx.Response(200, json=body))
    result = await generate(experimental(tmp_path), OPENAI, options={"output_format": "svg"}, size=Size(1024, 1024))
    (image,) = result.images
    assert (image.mime_type, image.size) == ("image/svg+xml", Size(20, 10))
    assert "size_received" not in [notice.code for notice in result.notices]
    image.save(tmp_path / "fox.svg")
    assert (tmp_path / "fox.svg").read_bytes() == data
    assert metadata_files.read_sidecar((tmp_path / "fox.svg.json").read_bytes())
    assert image._repr_mimebundle_()["image/svg+xml"] == data.decode()
    assert image._repr_png_() is None


@respx.mock
@pytest.mark.parametrize(
    ("kind", "mime_type", "extension"),
    [
        ("GIF", "image/gif", "gif"),
        ("AVIF", "image/avif", "avif"),
        ("TIFF", "image/tiff", "tif"),
        ("BMP", "image/bmp", "bmp"),
        ("ICO", "image/x-icon", "ico"),
        ("JPEG2000", "image/jp2", "jp2"),
    ],
)
async def test_a_format_that_nobody_asked_for_is_kept_with_its_settings_beside_it(
    kind: str, mime_type: str, extension: str, tmp_path: Path
) -> None:
    data = encoded(Image.new("RGB", (32, 32), "red"), kind)
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}
    respx.post(URL).mock(return_value=httpx.Response(200, json=body))
    result = await generate(settings_of(tmp_path), OPENAI)
    (image,) = result.images
    assert (image.data, image.mime_type, image.size) == (data, mime_type, Size(32, 32))
    assert EXTENSIONS[mime_type] == extension
    assert "kept_as_received" in [notice.code for notice in result.notices]
    image.save(tmp_path / "fox")
    assert (tmp_path / "fox").read_bytes() == data
    sidecar = metadata_files.read_sidecar((tmp_path / "fox.json").read_bytes())
    assert sidecar
    assert "kept_as_received" in [notice["code"] for notice in sidecar.metadata["external"]["notices"]]


@respx.mock
async def test_a_png_of_a_hundred_thousand_parts_is_kept(tmp_path: Path) -> None:
    parts = chunks(encoded(Image.new("RGB", (32, 24), "red"), "PNG"))
    data = samples.png([parts[0], *[(b"tEXt", b"k\0v")] * 100_000, *parts[1:]])
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}
    respx.post(URL).mock(return_value=httpx.Response(200, json=body))
    result = await generate(settings_of(tmp_path), OPENAI)
    (image,) = result.images
    assert (image.data, image.mime_type, image.size) == (data, "image/png", Size(32, 24))
    assert "kept_as_received" in [notice.code for notice in result.notices]
    image.save(tmp_path / "fox.png")
    assert (tmp_path / "fox.png").read_bytes() == data


@respx.mock
@pytest.mark.parametrize("content_type", ["image/bmp", "application/octet-stream"])
@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP", "AVIF"])
async def test_a_body_that_is_the_image_file_itself_is_kept(kind: str, content_type: str, tmp_path: Path) -> None:
    # Its bytes may be those that separate values in JSON.
    noise = Image.frombytes("RGB", (1000, 400), b",:[" * 400_000)
    data = encoded(noise, kind)
    respx.post(URL).mock(return_value=httpx.Response(200, content=data, headers={"content-type": content_type}))
    result = await generate(settings_of(tmp_path), OPENAI)
    assert [image.data for image in result.images] == [data]


@respx.mock
@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
        (b"\xff\x0a" + bytes(20), "image/jxl"),
        (b"BM" + bytes(4) + bytes(4) + struct.pack("<IIiiHH", 54, 40, 60000, 60000, 1, 24) + bytes(24), "image/bmp"),
        (b"GIF89a\xff\xff\xff\xff" + bytes(3), "image/gif"),
        # 98 million pixels, more than the setting and fewer than Pillow's own limit, and a frame that it cannot decode.
        (b"GIF89a\xff\xff\xdc\x05" + bytes(3) + b"," + bytes(4) + b"\xff\xff\xdc\x05\x00\x02\x00;", "image/gif"),
    ],
)
async def test_an_image_that_pillow_cannot_open_is_kept(data: bytes, mime_type: str, tmp_path: Path) -> None:
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}
    respx.post(URL).mock(return_value=httpx.Response(200, json=body))
    result = await generate(settings_of(tmp_path), OPENAI, size=Size(1024, 1024))
    assert [(image.data, image.mime_type) for image in result.images] == [(data, mime_type)]
    assert "kept_as_received" in [notice.code for notice in result.notices]


@respx.mock
@pytest.mark.parametrize("data", [b"BMW, a text", b"II*\0", b"GIF89a\1\0\1\0", b"%PDF-1.7", b"<html></html>"])
async def test_what_is_not_a_valid_image_is_an_error(data: bytes, tmp_path: Path) -> None:
    body = {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]}
    respx.post(URL).mock(return_value=httpx.Response(200, json=body))
    with pytest.raises(InvalidResponseError) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert caught.value.may_be_billed
