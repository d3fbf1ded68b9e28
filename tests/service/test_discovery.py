"""Models that a provider lists itself: when it is asked, what is kept of what it says, and which key goes where."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.responses import Response

from invokeai_external import GenerationRequest, GenerationResult, Registry, Service, Settings, load_settings
from invokeai_external.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotConfiguredError,
    QuotaError,
    SettingsError,
    UnavailableError,
)
from invokeai_external.progress import Preview, Progress, Received
from invokeai_external.request import InputImage
from invokeai_external.settings.budget_edit import set_limit
from invokeai_external.settings.live_settings import LiveSettings
from invokeai_external.settings.user_file_edit import set_default, set_setting
from invokeai_external.sizing import AspectRatio

from ..support.openrouter import OpenRouterServer, error_response
from ..support.samples import png_of

KEY = "sk-or-v1-valid"
MODEL = "openrouter/bytedance-seed/seedream-4.5"


@pytest.fixture
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir(exist_ok=True)
    return folder


def loaded(root: Path, server: OpenRouterServer, text: str = "", key: str = KEY, url: str = "") -> Settings:
    (root / "invokeai_external.yaml").write_text(text)
    variables = {"BASE_URL": url or server.base_url, "API_KEY": key}
    return load_settings(root, {f"INVOKEAI_EXTERNAL_OPENROUTER_{name}": value for name, value in variables.items()})


def generated(settings: Settings, **request: Any) -> GenerationResult:
    async def make() -> GenerationResult:
        async with Service(settings) as service:
            return await service.generate(GenerationRequest(**{"prompt": "a fox", "model": MODEL, **request}))

    return anyio.run(make)


def asked(settings: Settings, *, always: bool = False) -> list[str]:
    """The codes of the notices."""

    async def ask() -> list[str]:
        async with Service(settings) as service:
            return [notice.code for notice in await service.discover_models("openrouter", always=always)]

    return anyio.run(ask)


def file_of(root: Path) -> Path:
    return root / "invokeai_external_discovered.json"


def aged(root: Path, **changes: Any) -> None:
    """Change what the file says of OpenRouter."""
    data = json.loads(file_of(root).read_text())
    data["providers"]["openrouter"].update(changes)
    file_of(root).write_text(json.dumps(data))


def long_ago() -> str:
    return (datetime.now(UTC) - timedelta(hours=25)).isoformat()


def test_only_the_newest_models_of_a_long_list_have_their_pages_asked_for(root: Path, server: OpenRouterServer) -> None:
    [found, *_] = server.endpoints.values()
    server.endpoints = {f"acme/image-{number}": found for number in range(300)}
    settings = loaded(root, server)
    asked(settings)
    pages = {path for path in server.paths("GET") if path.endswith("/endpoints")}
    assert pages == {f"/images/models/acme/image-{number}/endpoints" for number in range(200, 300)}
    registry = Registry(loaded(root, server).catalog)
    models = [registry.resolve(f"openrouter/acme/image-{number}").model for number in (0, 299)]
    assert [model.prices.image_out is None for model in models] == [True, False]


EXTENDING = """
providers:
  gate: {adapter: openai_images, base_url: "http://127.0.0.1:1/v1"}
models:
  gate/mine: {extends: openrouter/mine}
  openrouter/mine: {extends: openrouter/bytedance-seed/seedream-4.5, name: Mine}
"""


def test_a_model_that_extends_a_listed_one_waits_until_it_is_listed(root: Path, server: OpenRouterServer) -> None:
    text = EXTENDING + "settings: {default_model: gate/mine}\nbudgets: {models: {gate/mine: {day_usd: 1}}}\n"
    before = Registry(loaded(root, server, text).catalog)
    for name in ("gate/mine", "openrouter/mine"):
        with pytest.raises(InvalidRequestError) as caught:
            before.resolve(name)
        assert "bytedance-seed/seedream-4.5" in caught.value.message
    assert before.resolve("openai/gpt-image-2").model.id == "gpt-image-2"
    # Which is only with the base URL that a variable sets, and which no check of the file knows.
    set_limit(root, "total.day", 5)
    set_setting(root, "previews", 1)
    set_default(root, "openai/gpt-image-2", "quality", "low")
    live = LiveSettings(root, lambda: None, lambda error: None)
    assert live().limits.previews == 1
    asked(loaded(root, server, text))
    for name in ("gate/mine", "openrouter/mine"):
        assert Registry(loaded(root, server, text).catalog).resolve(name).model.name == "Mine"
    assert generated(loaded(root, server, text), model="openrouter/mine").cost_usd
    file_of(root).unlink()
    assert LiveSettings(root, lambda: None, lambda error: None)().catalog.discovered == {}


def test_a_listed_model_that_is_gone_makes_no_other_model_fail(root: Path, server: OpenRouterServer) -> None:
    text = "models: {openrouter/mine: {extends: openrouter/bytedance-seed/gone}}\n"
    asked(loaded(root, server, text))
    registry = Registry(loaded(root, server, text).catalog)
    assert registry.resolve(MODEL).model.reference == MODEL
    with pytest.raises(InvalidRequestError) as caught:
        registry.resolve("openrouter/mine")
    assert "bytedance-seed/gone" in caught.value.message


def test_the_first_request_for_a_model_asks_once_and_the_next_ones_do_not(root: Path, server: OpenRouterServer) -> None:
    result = generated(loaded(root, server), aspect_ratio=AspectRatio(16, 9), image_size="2K", seed=7)
    assert result.images[0].mime_type == "image/png"
    assert (result.cost_usd, result.request_ids) == (0.1344, ("gen-TEST123",))
    metadata: Any = result.images[0].metadata
    assert metadata["external"]["cost_from"] == "provider"
    pages = {f"/images/models/{name}/endpoints" for name in server.endpoints}
    assert (server.paths("GET")[0], set(server.paths("GET")[1:])) == ("/images/models", pages)
    [(_, path, _, body)] = [request for request in server.requests if request[0] == "POST"]
    assert path == "/images"
    assert body == {
        "model": "bytedance-seed/seedream-4.5",
        "prompt": "a fox",
        "n": 1,
        "aspect_ratio": "16:9",
        "resolution": "2K",
        "seed": 7,
    }
    server.requests.clear()
    generated(loaded(root, server))
    assert server.paths("GET") == []


def test_the_file_is_for_its_owner_and_has_no_key(root: Path, server: OpenRouterServer) -> None:
    asked(loaded(root, server))
    assert file_of(root).stat().st_mode & 0o777 == 0o600
    data = json.loads(file_of(root).read_text())
    assert data["format"] == 1
    assert data["providers"]["openrouter"]["base_url"] == server.base_url
    assert KEY not in file_of(root).read_text()
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


def test_the_models_have_sizes_options_and_prices_and_the_day_of_the_prices(
    root: Path, server: OpenRouterServer
) -> None:
    asked(loaded(root, server))
    models = Registry(loaded(root, server).catalog).models("openrouter")
    assert {model.id for model in models} == server.endpoints.keys() - {"recraft/recraft-v4.1-vector"}
    # The server lists the oldest first.
    assert models[0].id == "meta/muse-image"
    model = Registry(loaded(root, server).catalog).resolve(MODEL).model
    assert (model.prices.per_image, model.prices_as_of) == ({"any": 0.04}, datetime.now(UTC).date())
    assert (model.provider_name, model.input_images.max_count) == ("OpenRouter", 14)


@pytest.mark.parametrize(
    ("changes", "is_asked"),
    [
        ({}, False),
        ({"at": long_ago()}, True),
        ({"at": (datetime.now(UTC) + timedelta(days=2)).isoformat()}, True),
        ({"at": "yesterday"}, True),
        ({"base_url": "https://other.example/api/v1"}, True),
        ({"models": None}, True),
    ],
)
def test_it_is_asked_again_after_a_day_or_at_another_server(
    root: Path, server: OpenRouterServer, changes: dict[str, Any], is_asked: bool
) -> None:
    asked(loaded(root, server))
    aged(root, **changes)
    server.requests.clear()
    assert asked(loaded(root, server)) == []
    assert bool(server.requests) is is_asked
    server.requests.clear()
    asked(loaded(root, server), always=True)
    assert server.requests


def test_if_it_does_not_respond_the_models_of_an_earlier_day_are_used(root: Path, server: OpenRouterServer) -> None:
    asked(loaded(root, server))
    aged(root, at=long_ago())
    server.is_down = True
    result = generated(loaded(root, server))
    assert len(result.images) == 1
    [notice] = [notice for notice in result.notices if notice.code == "models_outdated"]
    assert str((datetime.now(UTC) - timedelta(hours=25)).date()) in notice.message
    aged(root, base_url="https://other.example/api/v1")
    with pytest.raises(UnavailableError, match="Down for maintenance"):
        generated(loaded(root, server))


def test_without_a_connection_too(root: Path, server: OpenRouterServer) -> None:
    url = "http://127.0.0.1:9/api/v1"
    asked(loaded(root, server))
    aged(root, base_url=url, at=long_ago())
    assert asked(loaded(root, server, url=url)) == ["models_outdated"]


def test_a_service_that_was_not_answered_does_not_ask_again_and_again(root: Path, server: OpenRouterServer) -> None:
    asked(loaded(root, server))
    aged(root, at=long_ago())
    server.is_down = True
    server.requests.clear()

    async def twice() -> None:
        async with Service(loaded(root, server)) as service:
            for _ in range(2):
                await service.generate(GenerationRequest(prompt="a fox", model=MODEL))

    anyio.run(twice)
    assert (len(server.paths("GET")), len(server.paths("POST"))) == (1, 2)


def test_a_dry_run_never_asks_and_says_what_to_run(root: Path, server: OpenRouterServer) -> None:
    request = GenerationRequest(prompt="a fox", model=MODEL)
    with pytest.raises(InvalidRequestError) as caught:
        Service(loaded(root, server)).dry_run(request)
    assert "was not asked for its models yet" in caught.value.message
    assert "models --provider openrouter" in str(caught.value.hint)
    assert server.requests == []
    asked(loaded(root, server))
    server.requests.clear()
    plan, [sent] = Service(loaded(root, server)).dry_run(request)
    assert (plan.estimate_usd, sent.url) == (0.04, f"{server.base_url}/images")
    assert server.requests == []


def test_a_model_that_it_does_not_list_is_an_error_and_not_like_another_one(
    root: Path, server: OpenRouterServer
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        generated(loaded(root, server), model="openrouter/openai/gpt-image-9")
    assert "does not list an image model 'openai/gpt-image-9'" in caught.value.message
    assert "Did you mean openai/gpt-image-2?" in str(caught.value.hint)
    assert server.paths("POST") == []


OWN = """
models:
  openrouter/bytedance-seed/seedream-4.5: {name: Ours, prices: {per_image: 0.1}}
  openrouter/acme/new: {sizing: {kind: named, ratios: ["1:1"]}}
settings: {default_model: openrouter/bytedance-seed/seedream-4.5}
"""


def test_the_users_own_models_change_what_it_lists_and_wait_for_it(root: Path, server: OpenRouterServer) -> None:
    before = Registry(loaded(root, server, OWN).catalog)
    assert [model.id for model in before.models("openrouter")] == ["acme/new"]
    with pytest.raises(InvalidRequestError, match="was not asked for its models yet"):
        before.resolve(MODEL)
    generated(loaded(root, server, OWN), model=None)
    after = Registry(loaded(root, server, OWN).catalog)
    model = after.resolve(MODEL).model
    assert (model.name, model.prices.per_image, model.seed) == ("Ours", {"any": 0.1}, True)
    assert model.prices.per_input_image is None
    assert after.resolve("openrouter/acme/new").model.name == "acme/new"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "providers": {}}', '{"format": 1, "providers": 7}'])
def test_a_broken_file_is_ignored(root: Path, server: OpenRouterServer, text: str) -> None:
    file_of(root).write_text(text)
    assert Registry(loaded(root, server).catalog).models("openrouter") == ()
    generated(loaded(root, server))
    assert Registry(loaded(root, server).catalog).resolve(MODEL).model.reference == MODEL


def test_a_broken_entry_is_ignored_and_the_others_are_not(
    root: Path, server: OpenRouterServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked(loaded(root, server))
    models = json.loads(file_of(root).read_text())["providers"]["openrouter"]["models"]
    models["meta/muse-image"]["colour"] = "red"
    models["openai/gpt-image-2"] = 7
    aged(root, models=models)
    caplog.set_level("INFO", logger="invokeai_external")
    registry = Registry(loaded(root, server).catalog)
    assert {model.id for model in registry.models("openrouter")}.isdisjoint({"meta/muse-image", "openai/gpt-image-2"})
    assert registry.resolve(MODEL).model.reference == MODEL
    assert "meta/muse-image" in caplog.text


def test_the_key_goes_to_its_server_and_the_list_can_be_read_without_a_key(
    root: Path, server: OpenRouterServer
) -> None:
    with OpenRouterServer() as other:
        generated(loaded(root, server))
        assert server.keys == {KEY}
        assert other.requests == []
        # A key for one base URL is not sent to another one.
        moved = {"INVOKEAI_EXTERNAL_OPENROUTER_BASE_URL": other.base_url}
        with pytest.raises(SettingsError, match="was not given for the base URL"):
            generated(load_settings(root, {**moved, "OPENROUTER_API_KEY": KEY}))
        assert other.requests == []
        assert asked(load_settings(root, moved)) == []
        assert other.keys == {None}
        assert other.paths("POST") == []


def test_without_a_key_a_request_does_not_ask(root: Path, server: OpenRouterServer) -> None:
    (root / "invokeai_external.yaml").write_text(f"providers:\n  openrouter: {{base_url: '{server.base_url}'}}\n")
    with pytest.raises(NotConfiguredError, match="no key for OpenRouter"):
        generated(load_settings(root, {}))
    assert server.requests == []


def test_a_test_of_the_key_does_not_trust_the_public_list(root: Path, server: OpenRouterServer) -> None:
    async def check(key: str) -> str:
        async with Service(loaded(root, server, key=key)) as service:
            return (await service.check_connection("openrouter")).message

    assert "accepted the key and lists 7 of 7 known models" in anyio.run(check, KEY)
    with pytest.raises(AuthenticationError, match="refused the key"):
        anyio.run(check, "sk-or-v1-wrong")


def test_errors_name_what_to_do(root: Path, server: OpenRouterServer) -> None:
    server.responses.append(error_response(402, "Insufficient credits", limit_source="openrouter_credits"))
    with pytest.raises(QuotaError) as caught:
        generated(loaded(root, server))
    assert "https://openrouter.ai/settings/credits" in str(caught.value.hint)
    assert len(server.paths("POST")) == 1


def test_a_wait_that_the_body_names_is_kept(root: Path, server: OpenRouterServer) -> None:
    server.responses.append(error_response(429, "Provider returned error", retry_after_seconds=0.05))
    assert len(generated(loaded(root, server)).images) == 1
    assert len(server.paths("POST")) == 2


def test_several_images_and_references(root: Path, server: OpenRouterServer) -> None:
    image = InputImage(png_of("RGB", (64, 48)), "a.png")
    result = generated(loaded(root, server), n=3, references=(image, image))
    assert len(result.images) == 3
    [body] = [body for method, _, _, body in server.requests if method == "POST"]
    assert (body["n"], len(body["input_references"])) == (3, 2)
    assert body["input_references"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_model_that_only_edits_says_so(root: Path, server: OpenRouterServer) -> None:
    with pytest.raises(Exception, match="only edits images"):
        generated(loaded(root, server), model="openrouter/inclusionai/ming-image-0.1-design-layer")


def test_no_model_of_many_makers_is_the_default(root: Path, server: OpenRouterServer) -> None:
    asked(loaded(root, server))
    with pytest.raises(InvalidRequestError, match="no default model"):
        generated(loaded(root, server), model=None)


def test_discovery_is_for_a_wire_format_that_has_it(root: Path, server: OpenRouterServer) -> None:
    text = "providers:\n  acme: {adapter: openai_images, base_url: 'https://a.example/v1', discover_models: true}\n"
    with pytest.raises(SettingsError, match=r"line 2: providers\.acme\.discover_models"):
        loaded(root, server, text)
    # A provider of the user's own with the same wire format is asked, too.
    text = f"providers:\n  ours: {{adapter: openrouter, base_url: '{server.base_url}', discover_models: true}}\n"
    (root / "invokeai_external.yaml").write_text(text)
    settings = load_settings(root, {"INVOKEAI_EXTERNAL_OURS_API_KEY": KEY})
    assert len(generated(settings, model="ours/bytedance-seed/seedream-4.5").images) == 1


def test_previews_come_as_a_stream(root: Path, server: OpenRouterServer) -> None:
    image = base64.b64encode(png_of("RGB", (64, 64))).decode()
    usage = {"prompt_tokens": 16, "completion_tokens": 272, "total_tokens": 288, "cost": 0.011}
    events = [
        {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": image},
        {"type": "image_generation.completed", "b64_json": image, "media_type": "image/png", "usage": usage},
    ]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    server.responses.append(Response(text, media_type="text/event-stream"))
    seen: list[Progress] = []

    async def make() -> GenerationResult:
        async with Service(loaded(root, server)) as service:
            request = GenerationRequest(prompt="a fox", model="openrouter/openai/gpt-image-2", previews=1)
            return await service.generate(request, seen.append)

    result = anyio.run(make)
    assert (len(result.images), result.cost_usd) == (1, 0.011)
    assert {notice.code for notice in result.notices} == {"plain_http"}
    assert [type(event) for event in seen if isinstance(event, Preview | Received)] == [Preview, Received]
    [body] = [body for method, _, _, body in server.requests if method == "POST"]
    assert body["stream"] is True


def test_a_maker_without_streams_responds_in_one_piece(root: Path, server: OpenRouterServer) -> None:
    result = generated(loaded(root, server), model="openrouter/openai/gpt-image-2", previews=1)
    assert len(result.images) == 1
    assert [notice.code for notice in result.notices] == ["plain_http", "option_dropped"]
    assert len(server.paths("POST")) == 1
