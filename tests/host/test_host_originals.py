"""Content Credentials in Invoke: its copy has no valid ones, and the signed file is stored beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest
from PIL import Image

from ..support.samples import encoded, painted
from ..support.signing import signed, validation_state
from .conftest import NewInvoke
from .graphs import workflow_graph
from .invoke import Invoke, Json
from .sandbox import Sandbox
from .users import Users, signed_in_users

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SIGNED = {kind: signed(encoded(painted("RGB", (320, 240)), kind), mime_type) for kind, mime_type in FORMATS.items()}


@pytest.fixture(scope="module")
def users(new_invoke: NewInvoke) -> Iterator[Users]:
    """An Invoke that keeps originals, with several users."""
    invoke = new_invoke(settings={"multiuser": True})
    (invoke.root / "invokeai_external.yaml").write_text("settings:\n  keep_originals: true\n")
    invoke.start()
    with signed_in_users(invoke, "openai") as users:
        yield users


def serve(sandbox: Sandbox, data: bytes) -> None:
    sandbox.order("openai", "served_file", file=base64.b64encode(data).decode())


def original(user: Invoke, name: str) -> tuple[int, bytes]:
    answer = user.request("GET", f"/v1/external/originals/{name}")
    return answer.status_code, answer.content


@pytest.mark.parametrize("kind", FORMATS)
def test_the_signed_file_is_stored_byte_for_byte_and_valid(users: Users, sandbox: Sandbox, kind: str) -> None:
    assert validation_state(SIGNED[kind], FORMATS[kind]) == "Valid"
    serve(sandbox, SIGNED[kind])
    [picture] = users.anna.run(workflow_graph(users.model, prompt=kind))
    external = picture.metadata["external"]
    sha256 = hashlib.sha256(SIGNED[kind]).hexdigest()
    assert external["original"] == {"sha256": sha256, "mime_type": FORMATS[kind]}
    assert "credentials_ended" in [notice["code"] for notice in external["notices"]]
    # As the notice says: Invoke's copy is a PNG with Invoke's own texts.
    assert validation_state(picture.data, "image/png") in ("Invalid", "")
    answer = users.anna.request("GET", f"/v1/external/originals/{picture.name}")
    assert (answer.status_code, answer.content) == (200, SIGNED[kind])
    assert answer.headers["content-type"] == FORMATS[kind]
    assert validation_state(answer.content, FORMATS[kind]) == "Valid"


def test_the_owner_an_administrator_and_readers_of_the_board_can_get_it(users: Users, sandbox: Sandbox) -> None:
    board = users.anna.send("POST", "/v1/boards/", params={"board_name": "hers"})["board_id"]
    serve(sandbox, SIGNED["PNG"])
    [picture] = users.anna.run(workflow_graph(users.model, board={"board_id": board}))
    assert picture.record["board_id"] == board
    assert original(users.anna, picture.name) == (200, SIGNED["PNG"])
    assert original(users.admin, picture.name) == (200, SIGNED["PNG"])
    assert original(users.bob, picture.name)[0] in (403, 404)
    assert original(users.nobody, picture.name)[0] == 401
    for visibility, status in (("shared", 200), ("private", 403), ("public", 200)):
        changed = users.anna.request("PATCH", f"/v1/boards/{board}", json={"board_visibility": visibility})
        assert changed.status_code in (200, 201), changed.text
        assert original(users.bob, picture.name)[0] == status


def test_copied_metadata_give_no_access_to_the_original(users: Users, sandbox: Sandbox, photo: Image.Image) -> None:
    serve(sandbox, SIGNED["JPEG"])
    [picture] = users.anna.run(workflow_graph(users.model, prompt="hers alone"))
    with_copied = users.bob.upload(photo, metadata=picture.metadata)
    assert users.bob.picture(with_copied).metadata["external"]["original"] == picture.metadata["external"]["original"]
    assert original(users.bob, with_copied)[0] == 404


def test_a_copy_of_a_cached_image_has_the_original_too(users: Users, sandbox: Sandbox) -> None:
    serve(sandbox, SIGNED["WEBP"])
    graph = workflow_graph(users.model, prompt="cached", use_cache=True)
    [first] = users.anna.run(graph)
    [again] = users.anna.run(graph)
    assert again.name != first.name
    assert original(users.anna, again.name) == original(users.anna, first.name) == (200, SIGNED["WEBP"])


def test_an_unsigned_image_has_no_original(users: Users, sandbox: Sandbox) -> None:
    [picture] = users.anna.run(workflow_graph(users.model, prompt="not signed"))
    assert "original" not in picture.metadata["external"]
    assert original(users.anna, picture.name)[0] == 404
    assert original(users.admin, "no-such-image.png")[0] == 404
    # Without a matching route, Invoke's page responds.
    assert b"schema_version" not in original(users.admin, "..%2Finvokeai.yaml")[1]


def test_the_metadata_say_that_a_mask_of_invoke_marks_with_black(
    users: Users, sandbox: Sandbox, photo: Image.Image, hole: Image.Image
) -> None:
    base, mask = users.anna.upload(photo), users.anna.upload(hole)
    fields: Json = {"init_image": {"image_name": base}, "mask_image": {"image_name": mask}}
    [picture] = users.anna.run(workflow_graph(users.model, **fields))
    assert picture.metadata["external"]["mask"]["marks"] == "black"
