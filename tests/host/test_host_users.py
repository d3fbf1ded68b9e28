"""Invoke with several users: settings are for administrators, and images for the user who requested them."""

from __future__ import annotations

import pytest
from PIL import Image

from invokeai_external.errors import InvalidRequestError

from .failures import message_of
from .graphs import workflow_graph
from .invoke import INFO_NODE_TYPE, PROVIDERS, Json, wait_for
from .sandbox import Sandbox
from .test_host_models import offered, references
from .users import Users


@pytest.fixture(scope="module", autouse=True)
def _all_models(users: Users) -> None:
    wait_for(lambda: set(references(users.admin.models())) >= offered(*PROVIDERS))


def test_the_administrator_s_keys_install_the_models_for_all_users(users: Users) -> None:
    assert references(users.anna.models()) == references(users.admin.models()) == sorted(offered(*PROVIDERS))


FOR_ADMINISTRATORS = [
    ("POST", "/v1/app/external_providers/config/openai", {"api_key": "another"}),
    ("DELETE", "/v1/app/external_providers/config/openai", None),
    ("POST", "/v1/external/test/openai", None),
]


@pytest.mark.parametrize(("method", "path", "body"), FOR_ADMINISTRATORS)
def test_only_administrators_can_change_settings(users: Users, method: str, path: str, body: Json | None) -> None:
    assert users.anna.request(method, path, json=body).status_code == 403
    assert users.nobody.request(method, path, json=body).status_code == 401
    assert references(users.admin.models()) == sorted(offered(*PROVIDERS))


def test_an_administrator_can_test_the_connection(users: Users) -> None:
    assert users.admin.send("POST", "/v1/external/test/openai")["ok"] is True


@pytest.mark.parametrize("path", ["/v1/external/status", "/v1/external/models"])
def test_every_user_can_read_the_status_and_the_models(users: Users, canary: str, path: str) -> None:
    assert users.nobody.request("GET", path).status_code == 401
    answer = users.anna.request("GET", path)
    assert answer.status_code == 200
    assert canary not in answer.text


def test_a_cached_image_is_only_for_the_user_who_paid(users: Users, sandbox: Sandbox) -> None:
    graph = workflow_graph(users.model, prompt="cached by two", use_cache=True)
    [first] = users.anna.run(graph)
    [other] = users.bob.run(graph)
    assert len(sandbox.calls()) == 2
    assert other.metadata["external"].get("from_cache") is None
    for user in (users.anna, users.bob):
        [again] = user.run(graph)
        assert again.metadata["external"]["from_cache"] is True
        assert again.name not in (first.name, other.name)
    assert len(sandbox.calls()) == 2


def test_an_image_of_a_cancelled_run_is_only_for_the_user_who_paid(users: Users, sandbox: Sandbox) -> None:
    graph = workflow_graph(users.model, prompt="left by anna")
    kept = users.anna.root / "invokeai_external_kept"
    # Other tests may have left images that wait for an equal request.
    others = set(kept.iterdir()) if kept.is_dir() else set()
    sandbox.order("openai", "slow", seconds=5)
    first = users.bob.enqueue(workflow_graph(users.model))
    wait_for(sandbox.calls)
    before = set(users.anna.gallery())
    left = users.anna.enqueue(graph)
    wait_for(lambda: kept.is_dir() and set(kept.iterdir()) - others)
    users.anna.cancel(left)
    [name] = wait_for(lambda: set(users.anna.gallery()) - before)
    assert users.bob.ended(first)["status"] == "completed"
    if not users.is_6_13:
        # In 6.13 every user sees all images.
        assert name not in users.bob.gallery()
    notices = users.anna.picture(name).metadata["external"]["notices"]
    assert notices[0]["code"] == "from_cancelled_run"
    assert len(users.bob.run(graph)) == 1
    assert len(sandbox.calls()) == 3


def test_the_info_of_an_image_is_only_for_who_may_see_it(users: Users, sandbox: Sandbox) -> None:
    [picture] = users.anna.run(workflow_graph(users.model, prompt="hers"))
    # Invoke's own cache is the same for all users.
    node = {"id": "info", "type": INFO_NODE_TYPE, "image": {"image_name": picture.name}, "use_cache": True}
    graph: Json = {"id": "graph", "nodes": {"info": node}, "edges": []}
    for user in (users.anna, users.admin):
        [info] = user.ended(user.enqueue(graph))["session"]["results"].values()
        assert info["cost_usd"] == picture.metadata["external"]["cost_usd"]
    assert picture.name in message_of(users.bob.failure(graph), InvalidRequestError)
    body = {"board_name": "for all", "board_visibility": "shared"}
    board = users.anna.send("POST", "/v1/boards/", params={"board_name": body["board_name"]})["board_id"]
    users.anna.send("PATCH", f"/v1/boards/{board}", json=body)
    users.anna.send("POST", "/v1/board_images/", json={"board_id": board, "image_name": picture.name})
    assert users.bob.ended(users.bob.enqueue(graph))["status"] == "completed"


@pytest.fixture
def guarded(users: Users) -> Users:
    """The users of a newer version, in which each sees and uses only their own images."""
    if users.is_6_13:
        pytest.skip("Invoke 6.13 shows all images and the settings to all users")
    return users


def test_only_administrators_can_read_settings(guarded: Users) -> None:
    path = "/v1/app/external_providers/config"
    assert [user.request("GET", path).status_code for user in (guarded.admin, guarded.anna)] == [200, 403]
    assert guarded.nobody.request("GET", path).status_code == 401


def test_an_image_belongs_to_the_user_who_requested_it(guarded: Users, sandbox: Sandbox) -> None:
    graph = workflow_graph(guarded.model, prompt="hers", use_cache=True)
    for picture in (*guarded.anna.run(graph), *guarded.anna.run(graph)):
        assert picture.name in guarded.anna.gallery()
        assert picture.name not in guarded.bob.gallery()
        for path in ("", "/full", "/metadata"):
            assert guarded.bob.request("GET", f"/v1/images/i/{picture.name}{path}").status_code in (403, 404)


def test_an_image_on_a_private_board_is_only_for_its_owner(guarded: Users, sandbox: Sandbox) -> None:
    board = guarded.anna.send("POST", "/v1/boards/", params={"board_name": "foxes"})["board_id"]
    [picture] = guarded.anna.run(workflow_graph(guarded.model, board={"board_id": board}))
    assert picture.record["board_id"] == board
    assert guarded.bob.request("GET", f"/v1/boards/{board}").status_code in (403, 404)
    assert picture.name not in guarded.bob.gallery()


@pytest.mark.parametrize("field", ["reference_images", "init_image"])
def test_an_image_of_another_user_cannot_be_used(
    guarded: Users, sandbox: Sandbox, photo: Image.Image, field: str
) -> None:
    named = {"image_name": guarded.anna.upload(photo)}
    fields: Json = {field: [named] if field == "reference_images" else named}
    message = message_of(guarded.bob.failure(workflow_graph(guarded.model, **fields)), InvalidRequestError)
    assert named["image_name"] in message
    assert sandbox.calls() == []


@pytest.mark.parametrize("whose", ["anna's", "missing"])
def test_an_image_for_a_refused_board_is_not_lost(guarded: Users, sandbox: Sandbox, whose: str) -> None:
    board = "no-such-board"
    if whose == "anna's":
        board = guarded.anna.send("POST", "/v1/boards/", params={"board_name": "hers"})["board_id"]
    [picture] = guarded.bob.run(workflow_graph(guarded.model, board={"board_id": board}))
    assert picture.record.get("board_id") is None
    assert picture.name in guarded.bob.gallery()
    assert len(sandbox.calls()) == 1
