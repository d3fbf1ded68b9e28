"""The adapters send, field by field, what the official SDKs send for the same request.

Both send real HTTP to a recording server. Each deliberate difference has a test that says how and why.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import anyio
import openai
import pytest
from google import genai
from google.genai import types

from invokeai_external.adapters.base import Adapter
from invokeai_external.adapters.base_url import normalise_base_url
from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.planning.plan import Call
from invokeai_external.providers import catalog
from invokeai_external.sizing import Size, SizeChoice
from invokeai_external.transport.client import Transport

from .conftest import PNG, Part, Recorded, Recorder, call_image, make_call

pytestmark = pytest.mark.slow

JPEG = b"\xff\xd8\xff\xe0 another \r\n--picture"
ONLY_OF_THE_SDKS = {"accept", "user-agent", "x-goog-api-client"}
"""Headers in which the SDKs describe themselves; no provider requires them."""


def as_json_of_protobuf(body: Any) -> Any:
    """The body of Google's SDK in the form of the JSON mapping of Protocol Buffers, which is ours.

    The SDK writes the keys of nested types in snake_case (``mime_type``, ``thinking_level``) and bytes in the URL-safe
    alphabet of base64. The mapping accepts both forms; gateways in other languages may accept only this one.
    """
    if isinstance(body, list):
        return [as_json_of_protobuf(item) for item in body]
    if not isinstance(body, dict):
        return body
    camel = {re.sub(r"_([a-z])", lambda found: found[1].upper(), name): body[name] for name in body}
    return {
        name: value.replace("-", "+").replace("_", "/") if name == "data" else as_json_of_protobuf(value)
        for name, value in camel.items()
    }


def sent_by_us(recorder: Recorder, provider: Adapter, call: Call, base_url: str, key: str) -> Recorded:
    async def send() -> None:
        async with Transport(timeout_s=10, max_response_bytes=10_000) as transport:
            request = provider.build(call, normalise_base_url(base_url, provider))
            response = await transport.send(request, provider.auth_headers(key))
            assert provider.parse(response, call).images[0].data == PNG

    anyio.run(send)
    return recorder.requests.pop()


def sent_by_openai(recorder: Recorder, key: str, method: str, **fields: Any) -> Recorded:
    with openai.OpenAI(api_key=key, base_url=f"{recorder.url}/v1", max_retries=0) as client:
        answer = getattr(client.images, method)(**fields)
    assert len(answer.data) == 1
    return recorder.requests.pop()


def sent_by_google(recorder: Recorder, key: str, call: dict[str, Any], api_version: str | None = "v1beta") -> Recorded:
    options = types.HttpOptions(base_url=recorder.url, api_version=api_version)
    with genai.Client(api_key=key, http_options=options) as client:
        answer = client.models.generate_content(**call)
    assert answer.parts
    assert answer.parts[0].inline_data
    assert answer.parts[0].inline_data.data == PNG
    return recorder.requests.pop()


def assert_same_except_the_body(ours: Recorded, theirs: Recorded, key_header: str) -> None:
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert ours.content_kind == theirs.content_kind
    assert ours.headers[key_header] == theirs.headers[key_header]
    further = {name for name in theirs.headers.keys() - ours.headers.keys() if not name.startswith("x-stainless-")}
    assert further <= ONLY_OF_THE_SDKS


ALL_OF_GENERATE = {
    "size": "1536x1024",
    "quality": "high",
    "background": "transparent",
    "moderation": "low",
    "output_format": "webp",
    "output_compression": 80,
}


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        pytest.param(make_call("openai/gpt-image-2"), {"model": "gpt-image-2"}, id="minimal"),
        pytest.param(
            make_call(
                "openai/gpt-image-2",
                n=3,
                size=SizeChoice(Size(1536, 1024)),
                options={
                    "quality": "high",
                    "background": "transparent",
                    "moderation": "low",
                    "output_format": "webp",
                    "output_compression": 80.0,
                },
            ),
            {"model": "gpt-image-2", "n": 3, **ALL_OF_GENERATE},
            id="all options",
        ),
        pytest.param(
            make_call(
                "openai/dall-e-3", size=SizeChoice(Size(1792, 1024)), options={"quality": "hd", "style": "vivid"}
            ),
            {
                "model": "dall-e-3",
                "size": "1792x1024",
                "quality": "hd",
                "style": "vivid",
                "response_format": "b64_json",
            },
            id="DALL·E",
        ),
        pytest.param(
            make_call("openai/gpt-image-2.6-flare", options={"complexity": "low"}),
            {"model": "gpt-image-2.6-flare", "complexity": "low"},
            id="complexity",
        ),
        pytest.param(
            make_call(
                "openai/gpt-image-2.6-flare",
                options={"output_format": "gif", "frame_count": 4, "frame_duration_ms": 100},
            ),
            {"model": "gpt-image-2.6-flare", "output_format": "gif", "frame_count": 4, "frame_duration_ms": 100},
            id="gif",
        ),
    ],
)
def test_openai_generations_are_sent_as_the_sdk_sends_them(
    recorder: Recorder, canary: str, call: Call, fields: dict[str, Any]
) -> None:
    ours = sent_by_us(recorder, OpenAIImagesAdapter(catalog.page("openai").provider), call, recorder.url, canary)
    theirs = sent_by_openai(recorder, canary, "generate", **{"prompt": "a red fox", "n": 1, **fields})
    assert_same_except_the_body(ours, theirs, "authorization")
    assert ours.body == theirs.body
    assert ours.body == {"prompt": "a red fox", "n": 1, **fields}
    # Whole numbers stay whole: 80 and 80.0 are equal in Python, not on the wire.
    assert all(not isinstance(value, float) for value in ours.body.values())


ONE, TWO, MASK = call_image(), call_image(JPEG, "image/jpeg", "b.jpg"), call_image(b"mask", "image/png", "m.png")


@pytest.mark.parametrize(
    ("call", "files", "numbers"),
    [
        pytest.param(
            make_call("openai/gpt-image-1.5", init_image=ONE),
            {"image": ("image-1.png", PNG, "image/png")},
            {},
            id="one picture",
        ),
        pytest.param(
            make_call("openai/gpt-image-1.5", init_image=ONE, references=(TWO,)),
            {"image": [("image-1.png", PNG, "image/png"), ("image-2.jpg", JPEG, "image/jpeg")]},
            {},
            id="several pictures",
        ),
        pytest.param(
            make_call("openai/gpt-image-1.5", init_image=ONE, mask=MASK),
            {"image": ("image-1.png", PNG, "image/png"), "mask": ("mask.png", b"mask", "image/png")},
            {},
            id="mask",
        ),
        pytest.param(
            make_call(
                "openai/gpt-image-1.5",
                n=2,
                init_image=ONE,
                references=(TWO,),
                mask=MASK,
                options={"input_fidelity": "high", "output_format": "jpeg", "output_compression": 80.0},
            ),
            {
                "image": [("image-1.png", PNG, "image/png"), ("image-2.jpg", JPEG, "image/jpeg")],
                "mask": ("mask.png", b"mask", "image/png"),
            },
            {"n": 2, "input_fidelity": "high", "output_format": "jpeg", "output_compression": 80},
            id="everything, numbers as text",
        ),
        pytest.param(
            make_call("openai/gpt-image-2.6-flare", init_image=ONE, markup=MASK, options={"complexity": "medium"}),
            {"image": ("image-1.png", PNG, "image/png"), "markup": ("markup.png", b"mask", "image/png")},
            {"model": "gpt-image-2.6-flare", "complexity": "medium"},
            id="markup",
        ),
    ],
)
def test_openai_edits_are_sent_as_the_sdk_sends_them(
    recorder: Recorder, canary: str, call: Call, files: dict[str, Any], numbers: dict[str, Any]
) -> None:
    ours = sent_by_us(
        recorder, OpenAIImagesAdapter(catalog.page("openai").provider), call, f"{recorder.url}/v1/", canary
    )
    fields = {"model": "gpt-image-1.5", "prompt": "a red fox", "n": 1, **numbers}
    theirs = sent_by_openai(recorder, canary, "edit", **files, **fields)
    assert_same_except_the_body(ours, theirs, "authorization")
    # The order of the texts does not matter, that of the images does; both send the texts first.
    assert sorted(ours.body[: len(fields)]) == sorted(theirs.body[: len(fields)])
    assert sorted(ours.body[: len(fields)]) == sorted(Part(k, None, None, str(v)) for k, v in fields.items())
    assert ours.body[len(fields) :] == theirs.body[len(fields) :]
    assert all(part.filename for part in ours.body[len(fields) :])


def test_an_edit_with_moderation_is_json_which_the_sdk_does_not_send(recorder: Recorder, canary: str) -> None:
    """The SDK's ``edit`` has no ``moderation``; the fields are those of OpenAI's description of the API."""
    call = make_call(
        "openai/gpt-image-2.6-flare",
        n=2,
        init_image=ONE,
        references=(TWO,),
        mask=MASK,
        options={"moderation": "low", "output_format": "jpeg", "output_compression": 80},
    )
    ours = sent_by_us(recorder, OpenAIImagesAdapter(catalog.page("openai").provider), call, recorder.url, canary)
    assert (ours.path, ours.content_kind) == ("/v1/images/edits", "application/json")
    png, jpeg, mask = (base64.b64encode(data).decode() for data in (PNG, JPEG, b"mask"))
    assert ours.body == {
        "model": "gpt-image-2.6-flare",
        "prompt": "a red fox",
        "n": 2,
        "moderation": "low",
        "output_format": "jpeg",
        "output_compression": 80,
        "images": [{"image_url": f"data:image/png;base64,{png}"}, {"image_url": f"data:image/jpeg;base64,{jpeg}"}],
        "mask": {"image_url": f"data:image/png;base64,{mask}"},
    }


CONFIG_WITH_ALL: Any = {
    "response_modalities": ["TEXT", "IMAGE"],
    "seed": 7,
    "temperature": 0.5,
    "image_config": {"aspect_ratio": "16:9", "image_size": "2K"},
    "thinking_config": {"thinking_level": "high"},
}


@pytest.mark.parametrize(
    ("call", "contents", "config"),
    [
        pytest.param(
            make_call("gemini/gemini-2.5-flash-image"),
            "a red fox",
            {"response_modalities": ["TEXT", "IMAGE"]},
            id="words alone",
        ),
        pytest.param(
            make_call(
                "gemini/gemini-nano-banana-2.1",
                seed=7,
                size=SizeChoice(Size(2752, 1536), aspect_ratio="16:9", image_size="2K"),
                options={"temperature": 0.5, "thinking_level": "high"},
            ),
            "a red fox",
            CONFIG_WITH_ALL,
            id="all options",
        ),
        pytest.param(
            make_call("gemini/gemini-3-pro-image", references=(ONE, TWO)),
            [
                types.Part.from_bytes(data=PNG, mime_type="image/png"),
                types.Part.from_bytes(data=JPEG, mime_type="image/jpeg"),
                types.Part.from_text(text="a red fox"),
            ],
            {"response_modalities": ["TEXT", "IMAGE"]},
            id="reference images",
        ),
        pytest.param(
            make_call("gemini/gemini-3-pro-image", options={"safety": "block_none", "web_search": "web"}),
            "a red fox",
            {
                "response_modalities": ["TEXT", "IMAGE"],
                "safety_settings": [
                    {"category": f"HARM_CATEGORY_{category}", "threshold": "BLOCK_NONE"}
                    for category in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
                ],
                "tools": [{"google_search": {}}],
            },
            id="safety and web search",
        ),
        pytest.param(
            make_call("gemini/gemini-nano-banana-2.1", options={"safety": "off", "web_search": "image"}),
            "a red fox",
            {
                "response_modalities": ["TEXT", "IMAGE"],
                "safety_settings": [
                    types.SafetySetting(category=category, threshold=types.HarmBlockThreshold.OFF)
                    for category in (
                        types.HarmCategory.HARM_CATEGORY_HARASSMENT,
                        types.HarmCategory.HARM_CATEGORY_HATE_SPEECH,
                        types.HarmCategory.HARM_CATEGORY_SEXUALLY_EXPLICIT,
                        types.HarmCategory.HARM_CATEGORY_DANGEROUS_CONTENT,
                    )
                ],
                "tools": [
                    types.Tool(
                        google_search=types.GoogleSearch(
                            search_types=types.SearchTypes(
                                web_search=types.WebSearch(), image_search=types.ImageSearch()
                            )
                        )
                    )
                ],
            },
            id="no safety filter and image search",
        ),
    ],
)
def test_gemini_calls_are_sent_as_the_sdk_sends_them(
    recorder: Recorder, canary: str, call: Call, contents: Any, config: Any
) -> None:
    ours = sent_by_us(recorder, GeminiAdapter(catalog.page("gemini").provider), call, recorder.url, canary)
    theirs = sent_by_google(
        recorder, canary, {"model": call.model.id, "contents": contents, "config": config}, "v1beta"
    )
    assert_same_except_the_body(ours, theirs, "x-goog-api-key")
    assert ours.body == as_json_of_protobuf(theirs.body)
    assert ours.path == f"/v1beta/models/{call.model.id}:generateContent"
    assert canary not in ours.path + ours.query


def test_the_google_sdk_defaults_to_v1_and_we_default_to_v1beta_which_every_gateway_supports(
    recorder: Recorder, canary: str
) -> None:
    call = make_call("gemini/gemini-3-pro-image")
    asked = {"model": call.model.id, "contents": "a red fox", "config": {"response_modalities": ["TEXT", "IMAGE"]}}
    theirs = sent_by_google(recorder, canary, asked, api_version=None)
    assert theirs.path == "/v1/models/gemini-3-pro-image:generateContent"
    assert sent_by_us(recorder, GeminiAdapter(catalog.page("gemini").provider), call, recorder.url, canary).path == (
        "/v1beta/models/gemini-3-pro-image:generateContent"
    )
    # The suffix of the base URL selects the version, and then both send the same.
    ours = sent_by_us(recorder, GeminiAdapter(catalog.page("gemini").provider), call, f"{recorder.url}/v1", canary)
    assert_same_except_the_body(ours, theirs, "x-goog-api-key")
    assert ours.body == theirs.body


def test_the_google_sdk_uses_snake_case_and_we_use_the_camel_case_of_the_documentation(
    recorder: Recorder, canary: str
) -> None:
    image_part = types.Part.from_bytes(data=b"\xfb\xff", mime_type="image/png")
    config = {"thinking_config": {"thinking_level": "high"}}
    theirs = sent_by_google(
        recorder, canary, {"model": "gemini-3-pro-image", "contents": [image_part], "config": config}
    )
    assert theirs.body["contents"][0]["parts"] == [{"inlineData": {"mime_type": "image/png", "data": "-_8="}}]
    assert theirs.body["generationConfig"] == {"thinkingConfig": {"thinking_level": "HIGH"}}

    call = make_call(
        "gemini/gemini-3-pro-image", references=(call_image(b"\xfb\xff"),), options={"thinking_level": "high"}
    )
    ours = sent_by_us(recorder, GeminiAdapter(catalog.page("gemini").provider), call, recorder.url, canary)
    assert ours.body["contents"][0]["parts"][0] == {"inlineData": {"mimeType": "image/png", "data": "+/8="}}
    assert ours.body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH"}


def test_the_sdks_send_modalities_and_a_count_only_if_given_and_we_always_send_them(
    recorder: Recorder, canary: str
) -> None:
    google = sent_by_google(recorder, canary, {"model": "gemini-3-pro-image", "contents": "a red fox"})
    assert "generationConfig" not in google.body
    gemini_call = make_call("gemini/gemini-3-pro-image")
    ours = sent_by_us(recorder, GeminiAdapter(catalog.page("gemini").provider), gemini_call, recorder.url, canary)
    assert ours.body == {
        **google.body,
        # Without IMAGE, an image model responds with text only; with TEXT, it can say why it refuses.
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]},
    }

    theirs = sent_by_openai(recorder, canary, "generate", model="gpt-image-2", prompt="a red fox")
    assert theirs.body == {"model": "gpt-image-2", "prompt": "a red fox"}
    openai_call = make_call("openai/gpt-image-2")
    # One image is also the default of the API.
    assert sent_by_us(
        recorder, OpenAIImagesAdapter(catalog.page("openai").provider), openai_call, recorder.url, canary
    ).body == {**theirs.body, "n": 1}
