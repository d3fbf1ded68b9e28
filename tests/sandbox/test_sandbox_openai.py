"""What the sandbox's OpenAI API accepts, refuses and returns."""

from __future__ import annotations

import base64
import datetime
import io
import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient

from invokeai_external.providers.catalog import page
from invokeai_external.sandbox import create_app

from ..support.clock import TODAY

GENERATIONS = "/openai/v1/images/generations"
EDITS = "/openai/v1/images/edits"
NEWEST = "gpt-image-2.6-sunburst"


def _pixel() -> dict[str, str]:
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    return {"image_url": f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"}


PIXEL = _pixel()


def generate(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post(GENERATIONS, json={"model": NEWEST, "prompt": "a lighthouse", **body})


def edit(http: httpx.Client, files: list[tuple[str, Any]], **fields: str) -> httpx.Response:
    return http.post(EDITS, data={"model": NEWEST, "prompt": "a lighthouse", **fields}, files=files)


def image_in(response: httpx.Response, index: int = 0) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(base64.b64decode(response.json()["data"][index]["b64_json"])))


def error(response: httpx.Response, status: int = 400) -> tuple[str | None, str | None]:
    """The code and the parameter of an error response, whose shape is checked."""
    assert response.status_code == status, response.text
    body = response.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    assert body["error"]["message"]
    assert response.headers["x-request-id"].startswith("req_sandbox_")
    return body["error"]["code"], body["error"]["param"]


@pytest.fixture
def image_file(photo_png: bytes) -> tuple[str, bytes, str]:
    return ("photo.png", photo_png, "image/png")


@pytest.fixture
def mask_file(mask_png: bytes) -> tuple[str, bytes, str]:
    return ("mask.png", mask_png, "image/png")


def file_of(image: Image.Image, file_format: str = "PNG") -> tuple[str, bytes, str]:
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return ("file", buffer.getvalue(), f"image/{file_format.lower()}")


class TestResponses:
    def test_the_fields_are_those_of_the_service(self, http: httpx.Client) -> None:
        body = generate(http).json()
        assert set(body) == {"created", "background", "data", "output_format", "quality", "size", "usage"}
        assert [set(item) for item in body["data"]] == [{"b64_json", "generation_id"}]

    def test_the_same_request_gives_the_same_images_all_different(self, http: httpx.Client) -> None:
        first, again, other = generate(http, n=2), generate(http, n=2), generate(http, n=2, quality="low")
        assert first.json()["data"] == again.json()["data"] != other.json()["data"]
        assert image_in(first, 0) != image_in(first, 1)
        assert first.headers["x-request-id"] != again.headers["x-request-id"]

    @pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
    def test_formats(self, http: httpx.Client, output_format: str) -> None:
        assert image_in(generate(http, output_format=output_format)).format == output_format.upper()

    def test_a_transparent_background(self, http: httpx.Client) -> None:
        response = generate(http, background="transparent", output_format="webp")
        assert image_in(response).mode == "RGBA"
        assert response.json()["background"] == "transparent"

    @pytest.mark.parametrize("size", ["1536x864", "3840x2160", "1440x480", "480x1440"])
    def test_sizes_on_the_grid(self, http: httpx.Client, size: str) -> None:
        response = generate(http, size=size)
        assert "{}x{}".format(*image_in(response).size) == response.json()["size"] == size

    @pytest.mark.parametrize(("model", "size"), [("gpt-image-1.5", (1536, 1024)), (NEWEST, (1248, 832))])
    def test_an_edit_has_the_shape_of_its_image(
        self, http: httpx.Client, image_file: Any, model: str, size: tuple[int, int]
    ) -> None:
        assert image_in(edit(http, [("image", image_file)], model=model)).size == size

    def test_a_null_counts_as_not_given(self, http: httpx.Client) -> None:
        assert image_in(generate(http, size=None, n=None, background=None, svg=None)).size == (1024, 1024)

    def test_numbers_of_a_form_are_text(self, http: httpx.Client, image_file: Any) -> None:
        response = edit(
            http, [("image", image_file)], n="2", output_format="jpeg", output_compression="50", stream="false"
        )
        assert len(response.json()["data"]) == 2

    def test_seventeen_files_fit(self, http: httpx.Client, image_file: Any, mask_file: Any) -> None:
        files = [("image[]", image_file)] * 16 + [("mask", mask_file)]
        assert image_in(edit(http, files)).size

    @pytest.mark.parametrize("model", ["gpt-image-2.5-flare", NEWEST])
    def test_markup_changes_the_image(self, http: httpx.Client, image_file: Any, mask_file: Any, model: str) -> None:
        plain, marked = (
            edit(http, [("image", image_file), *more], model=model) for more in ([], [("markup", mask_file)])
        )
        assert image_in(plain) != image_in(marked)

    @pytest.mark.parametrize("model", ["gpt-image-2-2026-04-21", "chatgpt-image-latest", "gpt-image-1-mini"])
    def test_snapshots_and_aliases(self, http: httpx.Client, model: str) -> None:
        assert image_in(generate(http, model=model)).size
        assert http.get(f"/openai/v1/models/{model}").json()["id"] == model

    def test_every_active_model_returns_an_image(self, http: httpx.Client) -> None:
        alive = [m.id for m in page("openai").configs() if m.lifecycle.status_on(TODAY) != "retired"]
        assert alive == [
            m["id"] for m in http.get("/openai/v1/models").json()["data"] if m["id"] != "chatgpt-image-latest"
        ]
        for model in alive:
            assert image_in(generate(http, model=model, size="1024x1024")).size == (1024, 1024)


class TestUsage:
    def test_the_input_is_counted_for_each_image(self, http: httpx.Client) -> None:
        body = {"model": "gpt-image-2", "prompt": "x" * 44, "quality": "low", "size": "1536x864"}
        assert [generate(http, **body, n=n).json()["usage"]["input_tokens"] for n in (1, 2)] == [11, 22]
        assert generate(http, **body, n=2).json()["usage"] == {
            "input_tokens": 22,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 22},
            "output_tokens": 240,
            "output_tokens_details": {"image_tokens": 240, "text_tokens": 0},
            "total_tokens": 262,
        }

    def test_gpt_image_15_counts_text_with_each_image(self, http: httpx.Client) -> None:
        body = {"model": "gpt-image-1.5", "prompt": "x" * 40, "quality": "high", "size": "1024x1536", "n": 2}
        usage = generate(http, **body).json()["usage"]
        details = usage["output_tokens_details"]
        assert details["image_tokens"] == 2 * 6240
        assert 2 * 122 <= details["text_tokens"] <= 2 * 335
        assert usage["output_tokens"] == sum(details.values())
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]

    def test_a_mask_is_counted_as_one_more_image(self, http: httpx.Client, image_file: Any, mask_file: Any) -> None:
        def image_tokens(*files: tuple[str, Any]) -> int:
            return int(edit(http, list(files)).json()["usage"]["input_tokens_details"]["image_tokens"])

        assert image_tokens(("image", image_file), ("mask", mask_file)) == 2 * image_tokens(("image", image_file))

    def test_input_images_cost(self, http: httpx.Client, image_file: Any) -> None:
        def image_tokens(count: int) -> int:
            response = edit(http, [("image[]", image_file)] * count)
            return int(response.json()["usage"]["input_tokens_details"]["image_tokens"])

        assert image_tokens(3) == 3 * image_tokens(1) > 0


class TestKeys:
    @pytest.mark.parametrize("header", [None, "", "Bearer", "Basic abc", "sk-test"])
    def test_missing(self, sandbox_url: str, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        response = httpx.post(f"{sandbox_url}{GENERATIONS}", json={}, headers=headers)
        assert error(response, 401)[0] == "invalid_api_key"

    @pytest.mark.parametrize("path", [GENERATIONS, EDITS])
    @pytest.mark.parametrize("key", ["sk-wrong", "sk-test-Invalid-key-of-some-length"])
    def test_wrong(self, http: httpx.Client, path: str, key: str) -> None:
        response = http.post(path, headers={"Authorization": f"Bearer {key}"})
        assert error(response, 401)[0] == "invalid_api_key"
        assert key not in response.text

    def test_models_need_one(self, sandbox_url: str) -> None:
        assert error(httpx.get(f"{sandbox_url}/openai/v1/models"), 401)
        assert error(httpx.get(f"{sandbox_url}/openai/v1/models/{NEWEST}"), 401)


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            ({"model": None}, "missing_required_parameter", "model"),
            ({"model": ""}, "missing_required_parameter", "model"),
            ({"prompt": None}, "missing_required_parameter", "prompt"),
            ({"prompt": ""}, "empty_string", "prompt"),
            ({"prompt": "  \n"}, "empty_string", "prompt"),
            ({"prompt": "x" * 32001}, "string_above_max_length", "prompt"),
            ({"prompt": 7}, "invalid_type", "prompt"),
            ({"n": "1"}, "invalid_type", "n"),
            ({"n": 1.0}, "invalid_type", "n"),
            ({"n": True}, "invalid_type", "n"),
            ({"n": 0}, "integer_below_min_value", "n"),
            ({"n": 11}, "integer_above_max_value", "n"),
            ({"size": "1000x1000"}, "invalid_value", "size"),
            ({"size": "3856x1024"}, "invalid_value", "size"),
            ({"size": "512x512"}, "invalid_value", "size"),
            ({"size": "3840x3840"}, "invalid_value", "size"),
            ({"size": "2048x512"}, "invalid_value", "size"),
            ({"size": "1024 x 1024"}, "invalid_value", "size"),
            ({"size": "large"}, "invalid_value", "size"),
            ({"model": "gpt-image-1.5", "size": "1536x864"}, "invalid_value", "size"),
            ({"quality": "hd"}, "invalid_value", "quality"),
            ({"model": "gpt-image-2", "quality": "xhigh"}, "invalid_value", "quality"),
            ({"background": "green"}, "invalid_value", "background"),
            ({"background": "transparent", "output_format": "jpeg"}, "invalid_transparent_background", "background"),
            ({"output_format": "bmp"}, "invalid_value", "output_format"),
            ({"output_format": "gif"}, "invalid_value", "output_format"),
            ({"output_compression": 50}, "invalid_png_output_compression", "output_compression"),
            ({"output_compression": 101, "output_format": "jpeg"}, "integer_above_max_value", "output_compression"),
            ({"moderation": "none"}, "invalid_value", "moderation"),
            ({"complexity": "huge"}, "invalid_value", "complexity"),
            ({"model": "gpt-image-2.5-flare", "complexity": "low"}, "unsupported_parameter", "complexity"),
            ({"frame_count": 3}, "invalid_value", "frame_count"),
            ({"svg": {}}, "invalid_value", "svg"),
            ({"svg": 1}, "invalid_type", "svg"),
            ({"stream": "yes"}, "invalid_type", "stream"),
            ({"stream": True, "n": 2}, "invalid_value", "n"),
            ({"stream": True, "partial_images": 4}, "integer_above_max_value", "partial_images"),
            ({"partial_images": 2}, "unsupported_parameter", "partial_images"),
            ({"partial_images": 4}, "integer_above_max_value", "partial_images"),
            ({"seed": 1}, "unknown_parameter", "seed"),
            ({"response_format": "b64_json"}, "unknown_parameter", "response_format"),
            ({"style": "vivid"}, "unknown_parameter", "style"),
            ({"input_fidelity": "high"}, "unknown_parameter", "input_fidelity"),
            ({"image": "x"}, "unknown_parameter", "image"),
        ],
        ids=repr,
    )
    def test_generations(self, http: httpx.Client, body: dict[str, Any], code: str, param: str) -> None:
        assert error(generate(http, **body)) == (code, param)

    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"moderation": "low"}, "unknown_parameter", "moderation"),
            ({"n": "two"}, "invalid_type", "n"),
            ({"n": "11"}, "integer_above_max_value", "n"),
            ({"stream": "true", "n": "2"}, "invalid_value", "n"),
            ({"input_fidelity": "high"}, "invalid_input_fidelity_model", "input_fidelity"),
            (
                {"model": "gpt-image-1-mini", "input_fidelity": "low"},
                "invalid_input_fidelity_model",
                "input_fidelity",
            ),
            ({"quality": "standard"}, "invalid_value", "quality"),
            ({"prompt": ""}, "empty_string", "prompt"),
        ],
        ids=repr,
    )
    def test_edits(self, http: httpx.Client, image_file: Any, fields: dict[str, str], code: str, param: str) -> None:
        assert error(edit(http, [("image", image_file)], **fields)) == (code, param)

    def test_images(self, http: httpx.Client, image_file: Any, photo: Image.Image) -> None:
        name, data, _ = image_file
        assert error(edit(http, [("mask", image_file)])) == ("missing_required_parameter", "image")
        assert error(edit(http, [("image", image_file)] * 2)) == ("duplicate_parameter", "image")
        assert error(edit(http, [("image[]", image_file)] * 17)) == ("array_above_max_length", "image")
        assert error(edit(http, [("image[]", image_file), ("image[]", (name, data, "application/octet-stream"))])) == (
            "unsupported_file_mimetype",
            "image[1]",
        )
        assert error(edit(http, [("image", (name, b"junk", "image/png"))])) == ("invalid_image_file", "image")
        assert error(edit(http, [("photo", image_file), ("image", image_file)])) == ("unknown_parameter", "photo")

    def test_an_image_that_is_too_large(self, http: httpx.Client) -> None:
        large = ("large.png", b"\0" * 50_000_001, "image/png")
        assert error(edit(http, [("image", large)])) == ("file_too_large", "image")

    def test_masks(self, http: httpx.Client, image_file: Any, mask_file: Any, photo: Image.Image) -> None:
        def mask(file: Any) -> tuple[str | None, str | None]:
            return error(edit(http, [("image", image_file), ("mask", file)]))

        assert mask(image_file) == ("invalid_mask_image_format", "mask")
        assert mask(file_of(Image.new("RGBA", (200, 300)))) == ("invalid_mask_image_format", "mask")
        assert mask(file_of(photo, "JPEG")) == ("unsupported_file_mimetype", "mask")
        assert mask(("mask.png", b"\0" * 4_000_001, "image/png")) == ("file_too_large", "mask")
        twice = edit(http, [("image", image_file), ("mask", mask_file), ("mask", mask_file)])
        assert error(twice) == ("duplicate_parameter", "mask")

    def test_markup(self, http: httpx.Client, image_file: Any, mask_file: Any) -> None:
        both = edit(http, [("image", image_file), ("mask", mask_file), ("markup", mask_file)])
        assert error(both) == ("invalid_value", "markup")
        old = edit(http, [("image", image_file), ("markup", mask_file)], model="gpt-image-2")
        assert error(old) == ("invalid_value", "markup")

    @pytest.mark.parametrize("model", ["gpt-image-99", "gpt-image-2-2026", "gemini-3-pro-image"])
    def test_models(self, http: httpx.Client, model: str) -> None:
        assert error(generate(http, model=model), 404) == ("model_not_found", None)
        assert error(http.get(f"/openai/v1/models/{model}"), 404) == ("model_not_found", None)

    @pytest.mark.parametrize("model", ["dall-e-3", "dall-e-2", "gpt-image-1"])
    def test_models_that_have_ended(self, http: httpx.Client, image_file: Any, model: str) -> None:
        assert error(generate(http, model=model)) == ("invalid_value", "model")
        assert error(edit(http, [("image", image_file)], model=model)) == ("invalid_value", "model")
        assert error(http.get(f"/openai/v1/models/{model}"), 404) == ("model_not_found", None)

    def test_a_model_ends_after_its_last_day(self) -> None:
        def served(day: datetime.date) -> bool:
            app = create_app(today=lambda: day)
            with TestClient(app, headers={"Authorization": "Bearer sk-test"}) as client:
                listed = "gpt-image-1.5" in [model["id"] for model in client.get("/openai/v1/models").json()["data"]]
                made = client.post(GENERATIONS, json={"model": "gpt-image-1.5", "prompt": "x", "quality": "low"})
                assert listed is (made.status_code == 200)
                return listed

        assert served(datetime.date(2026, 12, 1))
        assert not served(datetime.date(2026, 12, 2))

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"text"', b"null"])
    def test_bodies_that_are_not_objects(self, http: httpx.Client, content: bytes) -> None:
        response = http.post(GENERATIONS, content=content, headers={"Content-Type": "application/json"})
        assert error(response) == (None, None)

    def test_content_types(self, http: httpx.Client) -> None:
        assert error(http.post(GENERATIONS, data={"prompt": "x"}))[0] == "unsupported_content_type"
        text = http.post(EDITS, content=b"{}", headers={"Content-Type": "text/plain"})
        assert error(text)[0] == "unsupported_content_type"
        broken = http.post(EDITS, content=b"junk", headers={"Content-Type": "multipart/form-data; boundary=x"})
        assert error(broken) == (None, None)

    def test_paths_and_methods(self, http: httpx.Client) -> None:
        assert error(http.post("/openai/v1/chat/completions"), 404) == (None, None)
        assert error(http.get(GENERATIONS), 405)[0] == "method_not_supported"
        assert error(http.get("/openai/files/none.png"), 404)[0] == "not_found"


class TestJsonEdits:
    """The JSON form of an edit, which is the only one with ``moderation``."""

    @staticmethod
    def url(file: tuple[str, bytes, str]) -> dict[str, str]:
        return {"image_url": f"data:{file[2]};base64,{base64.b64encode(file[1]).decode()}"}

    def send(self, http: httpx.Client, **body: Any) -> httpx.Response:
        return http.post(EDITS, json={"model": NEWEST, "prompt": "a lighthouse", **body})

    def test_images_and_a_mask(self, http: httpx.Client, image_file: Any, mask_file: Any, photo: Image.Image) -> None:
        images = [self.url(image_file)] * 2
        made = image_in(self.send(http, images=images, mask=self.url(mask_file), moderation="low", size="1024x1024"))
        assert made.size == (1024, 1024)
        plain = self.send(http, images=images[:1], n=2, moderation=None)
        assert image_in(plain, 1).size == (1248, 832)

    def test_the_log_holds_no_image(self, http: httpx.Client, image_file: Any) -> None:
        self.send(http, images=[self.url(image_file)])
        logged = http.get("/sandbox/requests").json()
        assert base64.b64encode(image_file[1]).decode() not in json.dumps(logged)

    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            ({}, "missing_required_parameter", "images"),
            ({"images": "x"}, "invalid_type", "images"),
            ({"images": []}, "array_below_min_length", "images"),
            ({"images": [{}] * 17}, "array_above_max_length", "images"),
            ({"images": ["x"]}, "invalid_type", "images[0]"),
            ({"images": [{}]}, "invalid_value", "images[0]"),
            ({"images": [{"url": "x"}]}, "unknown_parameter", "images[0].url"),
            ({"images": [{"image_url": 1}]}, "invalid_type", "images[0].image_url"),
            ({"images": [{"image_url": "https://x.example/a.png"}]}, "invalid_image_url", "images[0].image_url"),
            ({"images": [{"image_url": "data:image/png;base64,%"}]}, "invalid_image_url", "images[0].image_url"),
            ({"images": [{"image_url": "x", "file_id": "y"}]}, "invalid_value", "images[0]"),
            ({"images": [PIXEL], "mask": "x"}, "invalid_type", "mask"),
            ({"images": [PIXEL], "image": "x"}, "unknown_parameter", "image"),
            ({"images": [PIXEL], "moderation": "none"}, "invalid_value", "moderation"),
            ({"images": [PIXEL], "n": "2"}, "invalid_type", "n"),
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_refusals(self, http: httpx.Client, body: dict[str, Any], code: str, param: str) -> None:
        assert error(self.send(http, **body)) == (code, param)

    def test_a_file_that_does_not_exist(self, http: httpx.Client) -> None:
        assert error(self.send(http, images=[{"file_id": "file-1"}]), 404) == ("file_not_found", "images[0].file_id")

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null"])
    def test_bodies_that_are_not_objects(self, http: httpx.Client, content: bytes) -> None:
        assert http.post(EDITS, content=content, headers={"Content-Type": "application/json"}).status_code == 400


class TestGatedFormats:
    """GIF and SVG, for a key of a project that has access."""

    @pytest.fixture
    def http(self, http: httpx.Client) -> httpx.Client:
        http.headers["Authorization"] = "Bearer sk-with-preview"
        return http

    def test_a_gif_has_its_frames_and_is_billed_as_one_sheet(self, http: httpx.Client) -> None:
        whole = generate(http, output_format="gif", frame_count=4, frame_duration_ms=50, size="1024x1024")
        image = image_in(whole)
        assert (image.format, image.size, getattr(image, "n_frames", 1)) == ("GIF", (1024, 1024), 4)
        assert image.info["duration"] == 50
        sheet = generate(http, size="2048x2048")
        tokens = [response.json()["usage"]["output_tokens"] for response in (whole, sheet)]
        assert tokens[0] == tokens[1]

    def test_without_a_number_there_are_nine_frames(self, http: httpx.Client) -> None:
        image = image_in(generate(http, output_format="gif", size="1024x1024"))
        assert (getattr(image, "n_frames", 1), image.info["duration"]) == (9, 200)

    def test_an_svg_is_text(self, http: httpx.Client) -> None:
        response = generate(http, output_format="svg", prompt='"<a>" & b')
        text = base64.b64decode(response.json()["data"][0]["b64_json"]).decode()
        assert ElementTree.fromstring(text).attrib["aria-label"] == '"<a>" & b'
        assert response.json()["output_format"] == "svg"

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"output_format": "gif", "stream": True}, "stream"),
            ({"output_format": "gif", "output_compression": 0}, "output_compression"),
            ({"output_format": "gif", "frame_count": 1}, "frame_count"),
            ({"output_format": "gif", "frame_count": 17}, "frame_count"),
            ({"output_format": "gif", "frame_count": 16, "size": "1024x1024"}, "size"),
            ({"output_format": "gif", "model": "gpt-image-2"}, "output_format"),
            ({"output_format": "svg", "n": 2}, "n"),
            ({"output_format": "svg", "stream": True}, "stream"),
            ({"output_format": "svg", "output_compression": 50}, "output_compression"),
            ({"output_format": "svg", "frame_count": 4}, "frame_count"),
            ({"output_format": "svg", "svg": {"model": "x"}}, "svg"),
        ],
        ids=repr,
    )
    def test_refusals(self, http: httpx.Client, body: dict[str, Any], param: str) -> None:
        assert error(generate(http, **body))[1] == param

    def test_a_gif_has_no_mask(self, http: httpx.Client, image_file: Any, mask_file: Any) -> None:
        files = [("image", image_file), ("mask", mask_file)]
        assert error(edit(http, files, output_format="gif"))[1] == "mask"
        assert image_in(edit(http, files[:1], output_format="gif")).format == "GIF"


class TestRetiredModels:
    """They work only with ``serve_retired=True``."""

    @pytest.fixture
    def http(self) -> Iterator[Any]:
        with TestClient(create_app(serve_retired=True), headers={"Authorization": "Bearer sk-test"}) as client:
            yield client

    def test_dalle_3_returns_a_url_and_a_revised_prompt(self, http: Any) -> None:
        response = generate(http, model="dall-e-3", size="1792x1024", quality="hd", style="natural").json()
        assert set(response) == {"created", "data"}
        assert response["data"][0]["revised_prompt"] == "a lighthouse"
        fetched = http.get(response["data"][0]["url"])
        assert Image.open(io.BytesIO(fetched.content)).size == (1792, 1024)
        assert fetched.headers["content-type"] == "image/png"

    def test_dalle_returns_base64_on_request(self, http: Any) -> None:
        response = generate(http, model="dall-e-2", size="256x256", response_format="b64_json", n=2)
        assert image_in(response, 1).size == (256, 256)

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"output_format": "png"}, "output_format"),
            ({"background": "opaque"}, "background"),
            ({"size": "auto"}, "size"),
            ({"n": 2}, "n"),
            ({"quality": "high"}, "quality"),
            ({"prompt": "x" * 4001}, "prompt"),
        ],
        ids=repr,
    )
    def test_dalle_3_refuses(self, http: Any, body: dict[str, Any], param: str) -> None:
        assert error(generate(http, model="dall-e-3", **body))[1] == param

    def test_dalle_2_edits_one_square_png_with_alpha(self, http: Any, photo: Image.Image, image_file: Any) -> None:
        square = file_of(photo.convert("RGBA").crop((0, 0, 200, 200)))
        form = {"model": "dall-e-2", "response_format": "b64_json", "size": "512x512"}
        assert image_in(edit(http, [("image", square)], **form)).size == (512, 512)
        assert error(edit(http, [("image", image_file)], **form)) == (None, "image")
        assert error(edit(http, [("image[]", square)] * 2, **form)) == ("array_above_max_length", "image")

    def test_the_list_contains_them(self, http: Any) -> None:
        assert "dall-e-3" in [model["id"] for model in http.get("/openai/v1/models").json()["data"]]


def test_the_framing_of_a_stream(http: httpx.Client) -> None:
    body = {"model": "gpt-image-2", "prompt": "a lighthouse", "stream": True, "partial_images": 1}
    response = http.post("/openai/v1/images/generations", json=body)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in response.headers
    assert response.headers["x-request-id"].startswith("req_sandbox_")
    partial, completed, rest = response.text.split("\n\n")
    # There is no [DONE].
    assert rest == ""
    for number, (event, name) in enumerate([(partial, "partial_image"), (completed, "completed")]):
        first, second = event.split("\n")
        assert first == f"event: image_generation.{name}"
        content = json.loads(second.removeprefix("data: "))
        assert (content["type"], content["sequence_number"]) == (f"image_generation.{name}", number)


@pytest.mark.parametrize(("quality", "come"), [("low", 2), ("medium", 2), ("high", 3), ("max", 3)])
def test_fewer_previews_than_requested_may_come(http: httpx.Client, quality: str, come: int) -> None:
    body = {"model": NEWEST, "prompt": "x", "quality": quality, "stream": True, "partial_images": 3}
    events = [
        json.loads(event.partition("data: ")[2])
        for event in http.post(GENERATIONS, json=body).text.split("\n\n")
        if event
    ]
    assert [event["type"].rpartition(".")[2] for event in events] == ["partial_image"] * come + ["completed"]
    without = generate(http, quality=quality).json()["usage"]["output_tokens"]
    assert events[-1]["usage"]["output_tokens"] == without + 100 * come


def test_a_file_without_a_content_type_is_accepted(http: httpx.Client, photo_png: bytes) -> None:
    parts = (
        ("Content-Disposition: form-data; name=model", NEWEST.encode()),
        ("Content-Disposition: form-data; name=prompt", b"a lighthouse"),
        ('Content-Disposition: form-data; name="image"; filename="a.png"', photo_png),
    )
    content = b"".join(b"--x\r\n" + head.encode() + b"\r\n\r\n" + body + b"\r\n" for head, body in parts) + b"--x--\r\n"
    response = http.post(EDITS, content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert image_in(response).size == (1248, 832)


@pytest.mark.parametrize(
    ("model", "quality", "message"),
    [
        ("gpt-image-2", "xhigh", "The model 'gpt-image-2' does not support quality 'xhigh'."),
        (
            NEWEST,
            "standard",
            "Invalid value: 'standard'. Supported values are: 'low', 'medium', 'high', 'xhigh', 'max', and 'auto'.",
        ),
    ],
)
def test_an_unsupported_quality_is_refused_as_by_the_service(
    http: httpx.Client, model: str, quality: str, message: str
) -> None:
    response = generate(http, model=model, quality=quality)
    assert error(response) == ("invalid_value", "quality")
    assert response.json()["error"]["message"] == message
