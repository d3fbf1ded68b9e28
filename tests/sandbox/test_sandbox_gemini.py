"""What the sandbox's Gemini API accepts, refuses and returns."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from invokeai_external.providers.catalog import page
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.providers.sizings import PresetSizing
from invokeai_external.sandbox.gemini_request import read_call

BANANA = "gemini-nano-banana-2.1"
LITE = "gemini-3.1-flash-lite-image"
OLD = "gemini-2.5-flash-image"
TEXT = {"text": "a lighthouse"}


def generate(
    http: httpx.Client, model: str = BANANA, *, parts: list[Any] | None = None, **settings: Any
) -> httpx.Response:
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [TEXT] if parts is None else parts}]}
    if settings:
        body["generationConfig"] = settings
    return send(http, body, model)


def send(http: httpx.Client, body: Any, model: str = BANANA) -> httpx.Response:
    return http.post(f"/gemini/v1beta/models/{model}:generateContent", json=body)


def parts(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    candidate = response.json()["candidates"][0]
    assert candidate["finishReason"] == "STOP"
    content: list[dict[str, Any]] = candidate["content"]["parts"]
    return content


def image_in(response: httpx.Response) -> Image.Image:
    blob = next(part["inlineData"] for part in parts(response) if "inlineData" in part and not part.get("thought"))
    opened = Image.open(io.BytesIO(base64.b64decode(blob["data"])))
    assert Image.MIME[str(opened.format)] == blob["mimeType"]
    return opened


def error(response: httpx.Response, code: int = 400, status: str = "INVALID_ARGUMENT") -> str:
    """The message of an error response, whose shape is checked."""
    assert response.status_code == code, response.text
    body = response.json()
    assert list(body) == ["error"]
    assert (body["error"]["code"], body["error"]["status"]) == (code, status)
    return str(body["error"]["message"])


def blob(data: bytes, mime_type: str = "image/png") -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(data).decode()}}


class TestResponses:
    def test_the_fields_are_those_of_the_service(self, http: httpx.Client) -> None:
        body = generate(http, seed=8).json()
        assert set(body) == {"candidates", "usageMetadata", "modelVersion", "responseId"}
        text, image = body["candidates"][0]["content"]["parts"]
        assert set(text) == {"text"}
        assert set(image) == {"inlineData", "thoughtSignature"}

    def test_the_same_seed_gives_the_same_image(self, http: httpx.Client) -> None:
        first, again, other = (image_in(generate(http, seed=seed)) for seed in (5, 5, 6))
        assert first == again != other

    def test_the_same_request_gives_the_same_image(self, http: httpx.Client) -> None:
        assert image_in(generate(http)) == image_in(generate(http)) != image_in(generate(http, temperature=1))

    @pytest.mark.parametrize("config", page("gemini").configs(), ids=lambda config: config.id)
    def test_every_ratio_of_every_model(self, config: ModelConfig) -> None:
        assert isinstance(config.sizing, PresetSizing)
        for ratio, size in config.sizing.ratios.items():
            body = {
                "contents": [{"parts": [{"text": "a fox"}]}],
                "generationConfig": {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": ratio}},
            }
            assert read_call(body, config, config.id, "v1beta").size == size

    @pytest.mark.parametrize("ratio", ["1:8", "21:9"])
    def test_an_image_has_its_ratio(self, http: httpx.Client, ratio: str) -> None:
        sizing = next(m.sizing for m in page("gemini").configs() if m.id == BANANA)
        assert isinstance(sizing, PresetSizing)
        image = image_in(generate(http, imageConfig={"aspectRatio": ratio}))
        assert image.size == (sizing.ratios[ratio].width, sizing.ratios[ratio].height)

    @pytest.mark.parametrize(("image_size", "edge"), [("1K", 1024), ("2K", 2048), ("4K", 4096)])
    def test_image_sizes(self, http: httpx.Client, image_size: str, edge: int) -> None:
        image_config = {"imageSize": image_size, "aspectRatio": "1:1"}
        assert image_in(generate(http, imageConfig=image_config)).size == (edge, edge)

    @pytest.mark.parametrize(
        ("model", "image_config", "size"),
        [
            (BANANA, {}, (1408, 768)),
            ("gemini-3-pro-image", {"imageSize": "2K"}, (2816, 1536)),
            (LITE, {"imageSize": "1K"}, (1408, 768)),
            ("gemini-3.1-flash-image", {"imageSize": "512"}, (704, 384)),
            (OLD, {}, (1024, 1024)),
        ],
        ids=str,
    )
    def test_without_a_ratio_and_an_image(
        self, http: httpx.Client, model: str, image_config: dict[str, str], size: tuple[int, int]
    ) -> None:
        assert image_in(generate(http, model, imageConfig=image_config)).size == size

    def test_few_images_come_with_words(self, http: httpx.Client) -> None:
        speaks = [any("text" in part for part in parts(generate(http, LITE, seed=seed))) for seed in range(4)]
        assert speaks == [True, False, False, False]

    def test_512(self, http: httpx.Client) -> None:
        response = generate(http, "gemini-3.1-flash-image", imageConfig={"imageSize": "512", "aspectRatio": "21:9"})
        assert image_in(response).size == (792, 336)

    def test_the_shape_follows_the_first_image(self, http: httpx.Client, photo_png: bytes) -> None:
        assert image_in(generate(http, parts=[blob(photo_png), TEXT])).size == (1264, 848)

    def test_a_grey_second_image_is_a_mask_if_the_text_mentions_one(
        self, http: httpx.Client, photo: Image.Image, photo_png: bytes
    ) -> None:
        grey = Image.new("L", photo.size)
        grey.paste(255, (100, 50, 200, 150))
        size = (1248, 832)
        unchanged = photo.resize(size, Image.Resampling.BICUBIC).crop((0, 0, size[0], 200))

        def outside(text: str, second: Image.Image, *more: dict[str, Any]) -> Image.Image:
            file = io.BytesIO()
            second.save(file, "PNG")
            sent = [blob(photo_png), blob(file.getvalue()), *more, {"text": text}, TEXT]
            # This model responds with PNG, which keeps every pixel.
            made = image_in(generate(http, OLD, parts=sent))
            return made.crop((0, 0, size[0], 200)) if made.size == size else made

        with_mask = "Change the first image where its mask is white."
        assert outside(with_mask, grey) == unchanged
        assert outside(with_mask, grey, blob(photo_png)) == unchanged
        assert outside("Look at both.", grey) != unchanged
        assert outside(with_mask, grey.convert("RGB")) != unchanged
        assert outside(with_mask, grey.resize((100, 100))) != unchanged

    @pytest.mark.parametrize(("model", "file_format"), [(LITE, "JPEG"), (OLD, "PNG"), (BANANA, "JPEG")])
    def test_formats(self, http: httpx.Client, model: str, file_format: str) -> None:
        assert image_in(generate(http, model)).format == file_format

    def test_modalities(self, http: httpx.Client) -> None:
        assert [set(part) for part in parts(generate(http, responseModalities=["TEXT"]))] == [{"text"}]
        only_image = parts(generate(http, responseModalities=["IMAGE"]))
        assert [set(part) for part in only_image] == [{"inlineData", "thoughtSignature"}]

    def test_only_models_that_think_return_thoughts_and_only_on_request(self, http: httpx.Client) -> None:
        def thoughts(model: str, **thinking: Any) -> list[str]:
            response = generate(http, model, thinkingConfig=thinking)
            return [next(iter(part)) for part in parts(response) if part.get("thought")]

        assert thoughts(BANANA, includeThoughts=True, thinkingLevel="HIGH") == ["text", "inlineData"]
        assert thoughts(BANANA, thinkingLevel="minimal") == []
        assert thoughts("gemini-3-pro-image", includeThoughts=True) == ["text", "inlineData"]
        assert thoughts("gemini-3.1-flash-lite-image", includeThoughts=True) == []

    def test_snake_case_in_a_request(self, http: httpx.Client, photo_png: bytes) -> None:
        body = {
            "contents": {"parts": [TEXT, {"inline_data": {"mime_type": "image/png", "data": url_safe(photo_png)}}]},
            "generation_config": {
                "response_modalities": ["IMAGE"],
                "image_config": {"aspect_ratio": "16:9", "image_size": "1K"},
                "candidate_count": 1,
                "seed": "7",
                "thinking_config": {"thinking_level": "HIGH", "include_thoughts": False},
            },
        }
        assert image_in(send(http, body)).size == (1376, 768)

    def test_a_turn_is_continued(self, http: httpx.Client) -> None:
        answered = parts(generate(http, thinkingConfig={"includeThoughts": True}))
        contents = [
            {"role": "user", "parts": [TEXT]},
            {"role": "model", "parts": answered},
            {"role": "user", "parts": [{"text": "now at night"}]},
        ]
        assert image_in(send(http, {"contents": contents})).size
        for part in answered:
            part.pop("thoughtSignature", None)
        assert "thought_signature" in error(send(http, {"contents": contents}))
        assert image_in(send(http, {"contents": contents}, OLD)).size

    def test_the_cards_of_models(self, http: httpx.Client) -> None:
        cards = {card["name"]: card for card in http.get("/gemini/v1beta/models").json()["models"]}
        assert {card["maxTemperature"] for card in cards.values()} == {1}
        assert cards[f"models/{BANANA}"]["thinking"] is cards["models/gemini-3-pro-image"]["thinking"] is True
        assert "thinking" not in cards[f"models/{OLD}"]

    def test_the_list_of_models_has_pages(self, http: httpx.Client) -> None:
        def page_of(**params: Any) -> dict[str, Any]:
            response = http.get("/gemini/v1beta/models", params=params)
            assert response.status_code == 200, response.text
            return dict(response.json())

        whole = page_of()
        assert "nextPageToken" not in whole
        first = page_of(pageSize=3)
        rest = page_of(pageSize=50, pageToken=first["nextPageToken"])
        assert first["models"] + rest["models"] == whole["models"]
        error(http.get("/gemini/v1beta/models", params={"pageToken": "x"}))

    @pytest.mark.parametrize("version", ["v1", "v1beta"])
    def test_models(self, http: httpx.Client, version: str) -> None:
        cards = http.get(f"/gemini/{version}/models", params={"pageSize": 50}).json()["models"]
        names = [card["name"] for card in cards]
        assert f"models/{BANANA}" in names
        assert "models/nano-banana-pro-preview" in names
        # Its end is not confirmed, and it was still listed after it.
        assert "models/gemini-3-pro-image-preview" in names
        assert http.get(f"/gemini/{version}/models/{BANANA}").json() == cards[0]
        assert image_in(generate(http, "nano-banana-pro-preview")).size


def url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class TestUsage:
    @pytest.mark.parametrize(
        ("model", "image_config", "tokens"),
        [
            (BANANA, {}, 1120),
            (BANANA, {"imageSize": "4K"}, 3780),
            ("gemini-3-pro-image", {"imageSize": "4K"}, 2000),
            (OLD, {}, 1290),
        ],
        ids=str,
    )
    def test_images(self, http: httpx.Client, model: str, image_config: dict[str, str], tokens: int) -> None:
        usage = generate(http, model, imageConfig=image_config, responseModalities=["IMAGE"]).json()["usageMetadata"]
        assert usage["candidatesTokensDetails"] == [{"modality": "IMAGE", "tokenCount": tokens}]
        assert usage["candidatesTokenCount"] == tokens

    def test_sums(self, http: httpx.Client, photo_png: bytes) -> None:
        usage = generate(http, parts=[{"text": "x" * 40}, blob(photo_png), blob(photo_png)]).json()["usageMetadata"]
        assert usage["promptTokensDetails"] == [
            {"modality": "TEXT", "tokenCount": 10},
            {"modality": "IMAGE", "tokenCount": 2240},
        ]
        assert usage["promptTokenCount"] == 2250
        assert usage["thoughtsTokenCount"] > 0
        assert usage["candidatesTokenCount"] > 1120
        parts_of_total = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
        assert usage["totalTokenCount"] == sum(usage[name] for name in parts_of_total)

    def test_a_model_that_does_not_think(self, http: httpx.Client) -> None:
        assert "thoughtsTokenCount" not in generate(http, OLD).json()["usageMetadata"]


class TestKeys:
    def test_missing(self, sandbox_url: str) -> None:
        for headers in ({}, {"x-goog-api-key": ""}):
            response = httpx.post(f"{sandbox_url}/gemini/v1/models/{BANANA}:generateContent", json={}, headers=headers)
            error(response, 403, "PERMISSION_DENIED")

    def test_wrong(self, http: httpx.Client) -> None:
        for path in ("/gemini/v1/models", f"/gemini/v1/models/{BANANA}"):
            response = http.get(path, headers={"x-goog-api-key": "a-wrong-key"})
            assert error(response).startswith("API key not valid")
            assert response.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"

    def test_in_the_url(self, http: httpx.Client) -> None:
        response = http.post(f"/gemini/v1/models/{BANANA}:generateContent?alt=json&key=my-secret", json={})
        assert "x-goog-api-key" in error(response)
        log = http.get("/sandbox/requests").text
        assert "my-secret" not in log
        assert "alt=json&key=present" in log


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "names"),
        [
            ({"contents": [], "size": "1K"}, ['Unknown name "size": Cannot find field']),
            ({"thinkingConfig": {}}, ['Unknown name "thinkingConfig": Cannot']),
            ({"imageConfig": {}, "image_config": {}}, ['Unknown name "imageConfig"', 'Unknown name "image_config"']),
            ({"generationConfig": {"aspectRatio": "1:1"}}, ["Unknown name \"aspectRatio\" at 'generation_config'"]),
            (
                {"generationConfig": {"imageConfig": {"size": "1K"}}},
                ["Unknown name \"size\" at 'generation_config.image_config'"],
            ),
            ({"contents": [{"parts": [{"image": 1}]}]}, ["Unknown name \"image\" at 'contents[0].parts[0]'"]),
            ({"generationConfig": {"imageConfig": {"outputMimeType": "image/png"}}}, ["outputMimeType"]),
        ],
        ids=repr,
    )
    def test_unknown_names(self, http: httpx.Client, body: dict[str, Any], names: list[str]) -> None:
        response = send(http, body)
        message = error(response)
        assert message.startswith("Invalid JSON payload received.")
        for name in names:
            assert name in message
        details = response.json()["error"]["details"][0]
        assert len(details["fieldViolations"]) == len(names)

    @pytest.mark.parametrize(
        ("model", "settings", "words"),
        [
            (BANANA, {"candidateCount": 2}, "Multiple candidates"),
            (BANANA, {"candidateCount": 0}, "candidate_count"),
            (BANANA, {"seed": 2**31}, "TYPE_INT32"),
            (BANANA, {"seed": -(2**31) - 1}, "TYPE_INT32"),
            (BANANA, {"seed": 1.5}, "TYPE_INT32"),
            (BANANA, {"seed": "x"}, "TYPE_INT32"),
            (BANANA, {"seed": True}, "TYPE_INT32"),
            (BANANA, {"temperature": 1.1}, "temperature"),
            (BANANA, {"temperature": "hot"}, "TYPE_FLOAT"),
            (BANANA, {"imageConfig": {"imageSize": "512"}}, "image_size"),
            (BANANA, {"imageConfig": {"imageSize": "2k"}}, "image_size"),
            (LITE, {"imageConfig": {"imageSize": "2K"}}, "image_size"),
            (OLD, {"imageConfig": {"imageSize": "1K"}}, "Image size is not supported"),
            (BANANA, {"imageConfig": {"aspectRatio": "7:3"}}, "aspect_ratio"),
            ("gemini-3-pro-image", {"imageConfig": {"aspectRatio": "1:8"}}, "aspect_ratio"),
            (BANANA, {"imageConfig": "1K"}, "a message was expected"),
            (BANANA, {"thinkingConfig": {"thinkingLevel": "LOW"}}, "Thinking level LOW"),
            (BANANA, {"thinkingConfig": {"thinkingLevel": "HUGE"}}, "HUGE"),
            (OLD, {"thinkingConfig": {"thinkingLevel": "HIGH"}}, "Thinking level"),
            (OLD, {"thinkingConfig": {"thinkingBudget": 1}}, "Thinking budget"),
            (BANANA, {"thinkingConfig": {"includeThoughts": "yes"}}, "TYPE_BOOL"),
            (BANANA, {"responseModalities": ["AUDIO"]}, "AUDIO"),
            (BANANA, {"responseModalities": ["SMELL"]}, "SMELL"),
        ],
        ids=repr,
    )
    def test_settings(self, http: httpx.Client, model: str, settings: dict[str, Any], words: str) -> None:
        assert words in error(generate(http, model, **settings))

    def test_v1_has_no_modalities(self, http: httpx.Client) -> None:
        body = {"contents": [{"parts": [TEXT]}], "generationConfig": {"responseModalities": ["IMAGE"]}}
        response = http.post(f"/gemini/v1/models/{BANANA}:generateContent", json=body)
        assert error(response) == (
            "Invalid JSON payload received. Unknown name \"responseModalities\" at 'generation_config': "
            "Cannot find field."
        )
        del body["generationConfig"]
        assert image_in(http.post(f"/gemini/v1/models/{BANANA}:generateContent", json=body)).size

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({}, "contents is not specified"),
            ({"contents": []}, "contents is not specified"),
            ({"contents": [{"parts": []}]}, "must not be empty"),
            ({"contents": [{"parts": [{"text": ""}]}]}, "required oneof field"),
            ({"contents": [{"parts": [{}]}]}, "required oneof field"),
            ({"contents": [{"parts": [{"text": 7}]}]}, "TYPE_STRING"),
            ({"contents": [{"role": "system", "parts": [TEXT]}]}, "valid role"),
            ({"contents": [{"role": "model", "parts": [TEXT]}]}, "user turn"),
            ({"contents": ["text"]}, "a message was expected"),
            ({"contents": [{"parts": [{"text": "x" * 131073}]}]}, "input token count"),
            ([], "a message was expected"),
        ],
        ids=lambda value: repr(value)[:60],
    )
    def test_contents(self, http: httpx.Client, body: Any, words: str) -> None:
        assert words in error(send(http, body))

    def test_images(self, http: httpx.Client, photo_png: bytes) -> None:
        def refused(*images: dict[str, Any], model: str = BANANA) -> str:
            return error(generate(http, model, parts=[TEXT, *images]))

        assert "15 images" in refused(*[blob(photo_png)] * 15)
        assert "4 images" in refused(*[blob(photo_png)] * 4, model=OLD)
        assert "Base64 decoding failed" in refused({"inlineData": {"mimeType": "image/png", "data": "not base64!"}})
        assert "Base64 decoding failed" in refused({"inlineData": {"mimeType": "image/png"}})
        assert "Unsupported MIME type" in refused(blob(photo_png, "image/tiff"))
        assert "Unable to process" in refused(blob(b"junk"))

    def test_images_that_are_too_large(self, http: httpx.Client, photo_png: bytes) -> None:
        # Bytes after the end of a PNG are not part of its image.
        response = generate(http, parts=[TEXT, blob(photo_png + b"\0" * 7_000_000)])
        assert "payload size exceeds" in error(response)

    def test_files_elsewhere(self, http: httpx.Client) -> None:
        response = generate(http, parts=[TEXT, {"fileData": {"fileUri": "https://example.com/x.png"}}])
        assert "File" in error(response, 403, "PERMISSION_DENIED")

    @pytest.mark.parametrize("model", ["gemini-9", "gpt-image-2"])
    def test_models(self, http: httpx.Client, model: str) -> None:
        assert model in error(generate(http, model), 404, "NOT_FOUND")
        assert model in error(http.get(f"/gemini/v1/models/{model}"), 404, "NOT_FOUND")

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", f"/gemini/v1beta/models/{BANANA}:streamContent"),
            ("POST", f"/gemini/v2/models/{BANANA}:generateContent"),
            ("GET", "/gemini/v2/models"),
            ("GET", "/gemini/v1/files"),
        ],
    )
    def test_paths(self, http: httpx.Client, method: str, path: str) -> None:
        error(http.request(method, path), 404, "NOT_FOUND")

    def test_a_body_that_is_not_json(self, http: httpx.Client) -> None:
        response = http.post(f"/gemini/v1/models/{BANANA}:generateContent", content=b"{")
        assert error(response).startswith("Invalid JSON payload received.")


STREAM = f"/gemini/v1beta/models/{BANANA}:streamGenerateContent"


def test_the_framing_of_a_stream(http: httpx.Client) -> None:
    response = http.post(f"{STREAM}?alt=sse", json={"contents": [{"parts": [TEXT]}]})
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, rest = response.text.split("\r\n\r\n")
    assert rest == ""
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert ["finishReason" in chunk["candidates"][0] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_an_error_comes_as_json_behind_the_events(http: httpx.Client) -> None:
    order = {"provider": "gemini", "fault": "stream_error", "status": 503}
    assert http.post("/sandbox/faults", json=order).status_code == 201
    settings = {"thinkingConfig": {"includeThoughts": True}}
    response = http.post(f"{STREAM}?alt=sse", json={"contents": [{"parts": [TEXT]}], "generationConfig": settings})
    *events, last = response.text.split("\r\n\r\n")
    assert events
    assert all(event.startswith("data: ") for event in events)
    assert json.loads(last)["error"]["status"] == "UNAVAILABLE"


def test_without_alt_sse_a_stream_is_a_list(http: httpx.Client) -> None:
    chunks = http.post(STREAM, json={"contents": [{"parts": [TEXT]}]}).json()
    assert [bool(chunk.get("usageMetadata")) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


class TestSafetySettings:
    def test_every_category_and_threshold(self, http: httpx.Client) -> None:
        categories = ["HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY"]
        thresholds = ["BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"]
        settings = [
            {"category": f"HARM_CATEGORY_{category}", "threshold": threshold}
            for category, threshold in zip(categories, thresholds, strict=True)
        ]
        assert image_in(send(http, {"contents": [{"parts": [TEXT]}], "safetySettings": settings})).size

    @pytest.mark.parametrize(
        ("setting", "where"),
        [
            ("x", "safety_settings[0]"),
            ({"category": "HARM_CATEGORY_HARASSMENT"}, "safety_settings[0].threshold"),
            ({"category": "HARM_CATEGORY_IMAGE_HATE", "threshold": "OFF"}, "safety_settings[0].category"),
            ({"category": "HARM_CATEGORY_HARASSMENT", "threshold": "block_none"}, "safety_settings[0].threshold"),
            ({"method": "SEVERITY"}, "method"),
        ],
    )
    def test_refusals(self, http: httpx.Client, setting: object, where: str) -> None:
        assert where in error(send(http, {"contents": [{"parts": [TEXT]}], "safetySettings": [setting]}))

    def test_a_category_may_occur_once(self, http: httpx.Client) -> None:
        settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}] * 2
        assert "duplicate" in error(send(http, {"contents": [{"parts": [TEXT]}], "safetySettings": settings}))


class TestSearches:
    @staticmethod
    def search(http: httpx.Client, tool: object, model: str = BANANA) -> httpx.Response:
        return send(http, {"contents": [{"parts": [TEXT]}], "tools": [tool]}, model)

    @pytest.mark.parametrize(
        ("types", "kinds"),
        [
            (None, ["web", "web"]),
            ({}, ["web", "web"]),
            ({"webSearch": {}}, ["web", "web"]),
            ({"image_search": {}}, ["image"]),
            ({"webSearch": {}, "imageSearch": {}}, ["web", "web", "image"]),
        ],
    )
    def test_the_sources_are_in_the_response(self, http: httpx.Client, types: Any, kinds: list[str]) -> None:
        response = self.search(http, {"googleSearch": {} if types is None else {"searchTypes": types}})
        assert image_in(response).size
        found = response.json()["candidates"][0]["groundingMetadata"]
        assert [next(iter(chunk)) for chunk in found["groundingChunks"]] == kinds
        assert ("webSearchQueries" in found, "imageSearchQueries" in found) == ("web" in kinds, "image" in kinds)
        for chunk in found["groundingChunks"]:
            [source] = chunk.values()
            assert source.get("uri", source.get("sourceUri")).startswith("https://example.com/")
            assert source["title"]

    def test_without_a_search_there_are_no_sources(self, http: httpx.Client) -> None:
        assert "groundingMetadata" not in generate(http).json()["candidates"][0]

    def test_the_sources_of_a_stream_come_in_one_chunk(self, http: httpx.Client) -> None:
        body = {"contents": [{"parts": [TEXT]}], "tools": [{"googleSearch": {}}]}
        chunks = http.post(f"/gemini/v1beta/models/{BANANA}:streamGenerateContent", json=body).json()
        assert sum("groundingMetadata" in chunk["candidates"][0] for chunk in chunks) == 1

    @pytest.mark.parametrize(
        ("tool", "model", "message"),
        [
            ({"googleSearch": {}}, LITE, "Search Grounding is not supported"),
            ({"googleSearch": {}}, OLD, "Search Grounding is not supported"),
            ({"googleSearch": {"searchTypes": {"imageSearch": {}}}}, "gemini-3-pro-image", "Image search"),
            ({"googleSearch": {"searchTypes": {"videoSearch": {}}}}, BANANA, "videoSearch"),
            ({"googleSearch": 1}, BANANA, "google_search"),
            ({"codeExecution": {}}, BANANA, "codeExecution"),
            ({"webSearch": {}}, BANANA, "webSearch"),
            ("x", BANANA, "tools[0]"),
        ],
    )
    def test_refusals(self, http: httpx.Client, tool: object, model: str, message: str) -> None:
        assert message in error(self.search(http, tool, model))
