"""Invoke with several users: settings are for administrators, pictures for those who asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from PIL import Image

from .conftest import NewInvoke
from .graphs import workflow_graph
from .invoke import PROVIDERS, Invoke, Json, wait_for
from .sandbox import Sandbox
from .test_host_failures import sentence_of
from .test_host_models import offered, references

_PASSWORD = "Fox-in-5now-and-more"
_FLASH = "openai/gpt-image-2.5-flare"


class House(NamedTuple):
    """One Invoke, as each of its users sees it, and as somebody does who is not signed in."""

    stranger: Invoke
    admin: Invoke
    anna: Invoke
    bob: Invoke

    @property
    def model(self) -> Json:
        return self.admin.model(_FLASH)


@pytest.fixture(scope="module")
def house(new_invoke: NewInvoke) -> Iterator[House]:
    """An Invoke with an administrator and two plain users; its keys are set by the administrator while it runs."""
    invoke = new_invoke(settings={"multiuser": True})
    invoke.start()
    account = {"email": "admin@example.com", "display_name": "admin", "password": _PASSWORD}
    invoke.send("POST", "/v1/auth/setup", json=account)
    admin = invoke.signed_in("admin@example.com", _PASSWORD)
    for name in ("anna", "bob"):
        account = {"email": f"{name}@example.com", "display_name": name, "password": _PASSWORD}
        admin.send("POST", "/v1/auth/users", json={**account, "is_admin": False})
    for provider in PROVIDERS:
        admin.set_key(provider)
    wait_for(lambda: set(references(admin.models())) >= offered(*PROVIDERS))
    admin.settled_models()
    users = [invoke.signed_in(f"{name}@example.com", _PASSWORD) for name in ("anna", "bob")]
    yield House(invoke, admin, *users)
    for user in (admin, *users):
        user.sign_out()


def test_keys_that_the_administrator_sets_bring_the_models_for_all(house: House) -> None:
    assert references(house.anna.models()) == references(house.admin.models()) == sorted(offered(*PROVIDERS))


ADMINISTRATOR_S = [
    ("POST", "/v1/app/external_providers/config/openai", {"api_key": "another"}),
    ("DELETE", "/v1/app/external_providers/config/openai", None),
    ("POST", "/v1/external/test/openai", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ADMINISTRATOR_S)
def test_settings_are_for_administrators_alone(house: House, method: str, path: str, body: Json | None) -> None:
    assert house.anna.request(method, path, json=body).status_code == 403
    assert house.stranger.request(method, path, json=body).status_code == 401
    assert references(house.admin.models()) == sorted(offered(*PROVIDERS))


def test_the_administrator_may_test_the_connection(house: House) -> None:
    assert house.admin.send("POST", "/v1/external/test/openai")["ok"] is True


@pytest.mark.parametrize("path", ["/v1/external/status", "/v1/external/models"])
def test_who_is_signed_in_may_see_what_there_is(house: House, canary: str, path: str) -> None:
    assert house.stranger.request("GET", path).status_code == 401
    answer = house.anna.request("GET", path)
    assert answer.status_code == 200
    assert canary not in answer.text


def test_a_cached_picture_is_for_who_paid_for_it(house: House, sandbox: Sandbox) -> None:
    graph = workflow_graph(house.model, prompt="cached by two", use_cache=True)
    [first] = house.anna.run(graph)
    [other] = house.bob.run(graph)
    assert len(sandbox.calls()) == 2
    assert other.metadata["external"].get("from_cache") is None
    for user in (house.anna, house.bob):
        [again] = user.run(graph)
        assert again.metadata["external"]["from_cache"] is True
        assert again.name not in (first.name, other.name)
    assert len(sandbox.calls()) == 2


def test_an_image_of_a_cancelled_run_is_for_who_paid_for_it(house: House, sandbox: Sandbox) -> None:
    graph = workflow_graph(house.model, prompt="left by anna")
    kept = house.anna.root / "invokeai_external_kept"
    sandbox.order("openai", "slow", seconds=5)
    first = house.bob.enqueue(workflow_graph(house.model))
    wait_for(sandbox.calls)
    before = set(house.anna.gallery())
    left = house.anna.enqueue(graph)
    wait_for(lambda: kept.is_dir() and list(kept.iterdir()))
    house.anna.cancel(left)
    [name] = wait_for(lambda: set(house.anna.gallery()) - before)
    assert house.bob.ended(first)["status"] == "completed"
    if not house.admin.get("/v1/app/version")["version"].startswith("6.13."):
        # There everybody sees all images.
        assert name not in house.bob.gallery()
    notices = house.anna.picture(name).metadata["external"]["notices"]
    assert notices[-1]["code"] == "from_cancelled_run"
    assert len(house.bob.run(graph)) == 1
    assert len(sandbox.calls()) == 3


@pytest.fixture
def guarded(house: House) -> House:
    """As newer versions are, in which everybody sees their own pictures, and a run may use what its user may see."""
    if house.admin.get("/v1/app/version")["version"].startswith("6.13."):
        pytest.skip("Invoke 6.13 shows and lends all pictures to all users, and the settings as well")
    return house


def test_settings_are_seen_by_administrators_alone(guarded: House) -> None:
    path = "/v1/app/external_providers/config"
    assert [user.request("GET", path).status_code for user in (guarded.admin, guarded.anna)] == [200, 403]
    assert guarded.stranger.request("GET", path).status_code == 401


def test_a_picture_belongs_to_who_asked(guarded: House, sandbox: Sandbox) -> None:
    graph = workflow_graph(guarded.model, prompt="hers", use_cache=True)
    for picture in (*guarded.anna.run(graph), *guarded.anna.run(graph)):
        assert picture.name in guarded.anna.gallery()
        assert picture.name not in guarded.bob.gallery()
        for path in ("", "/full", "/metadata"):
            assert guarded.bob.request("GET", f"/v1/images/i/{picture.name}{path}").status_code in (403, 404)


def test_a_board_s_picture_is_its_owner_s(guarded: House, sandbox: Sandbox) -> None:
    board = guarded.anna.send("POST", "/v1/boards/", params={"board_name": "foxes"})["board_id"]
    [picture] = guarded.anna.run(workflow_graph(guarded.model, board={"board_id": board}))
    assert picture.record["board_id"] == board
    assert guarded.bob.request("GET", f"/v1/boards/{board}").status_code in (403, 404)
    assert picture.name not in guarded.bob.gallery()


@pytest.mark.parametrize("field", ["reference_images", "init_image"])
def test_a_picture_of_somebody_else_cannot_be_used(
    guarded: House, sandbox: Sandbox, photo: Image.Image, field: str
) -> None:
    named = {"image_name": guarded.anna.upload(photo)}
    fields: Json = {field: [named] if field == "reference_images" else named}
    message = sentence_of(guarded.bob.failure(workflow_graph(guarded.model, **fields)))
    assert "belongs to another user" in message
    assert sandbox.calls() == []


@pytest.mark.parametrize("whose", ["anna's", "nobody's"])
def test_a_picture_for_a_board_that_is_refused_is_not_lost(guarded: House, sandbox: Sandbox, whose: str) -> None:
    board = "no-such-board"
    if whose == "anna's":
        board = guarded.anna.send("POST", "/v1/boards/", params={"board_name": "hers"})["board_id"]
    [picture] = guarded.bob.run(workflow_graph(guarded.model, board={"board_id": board}))
    assert picture.record.get("board_id") is None
    assert picture.name in guarded.bob.gallery()
    assert len(sandbox.calls()) == 1
