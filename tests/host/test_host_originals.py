"""Content Credentials in Invoke: its copy ends them and says so; the signed file is kept, for who may see the image."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from PIL import Image

from ..images.pictures import encoded, painted
from ..images.signing import signed, validation_state
from .conftest import NewInvoke
from .graphs import workflow_graph
from .invoke import Invoke, Json, wait_for
from .sandbox import Sandbox

_PASSWORD = "Fox-in-5now-and-more"
_FLASH = "openai/gpt-image-2.5-flare"
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
SIGNED = {kind: signed(encoded(painted("RGB", (320, 240)), kind), mime_type) for kind, mime_type in FORMATS.items()}


class House(NamedTuple):
    """One Invoke that keeps originals, as each of its users sees it, and as somebody does who is not signed in."""

    stranger: Invoke
    admin: Invoke
    anna: Invoke
    bob: Invoke

    @property
    def model(self) -> Json:
        return self.admin.model(_FLASH)


@pytest.fixture(scope="module")
def house(new_invoke: NewInvoke) -> Iterator[House]:
    invoke = new_invoke(settings={"multiuser": True})
    (invoke.root / "invokeai_external.yaml").write_text("settings:\n  keep_originals: true\n")
    invoke.start()
    account = {"email": "admin@example.com", "display_name": "admin", "password": _PASSWORD}
    invoke.send("POST", "/v1/auth/setup", json=account)
    admin = invoke.signed_in("admin@example.com", _PASSWORD)
    for name in ("anna", "bob"):
        account = {"email": f"{name}@example.com", "display_name": name, "password": _PASSWORD}
        admin.send("POST", "/v1/auth/users", json={**account, "is_admin": False})
    admin.set_key("openai")
    wait_for(admin.models)
    admin.settled_models()
    users = [invoke.signed_in(f"{name}@example.com", _PASSWORD) for name in ("anna", "bob")]
    yield House(invoke, admin, *users)
    for user in (admin, *users):
        user.sign_out()


def serve(sandbox: Sandbox, data: bytes) -> None:
    sandbox.order("openai", "served_file", file=base64.b64encode(data).decode())


def original(user: Invoke, name: str) -> tuple[int, bytes]:
    answer = user.request("GET", f"/v1/external/originals/{name}")
    return answer.status_code, answer.content


@pytest.mark.parametrize("kind", FORMATS)
def test_the_signed_file_is_kept_byte_for_byte_and_valid(house: House, sandbox: Sandbox, kind: str) -> None:
    assert validation_state(SIGNED[kind], FORMATS[kind]) == "Valid"
    serve(sandbox, SIGNED[kind])
    [picture] = house.anna.run(workflow_graph(house.model, prompt=kind))
    external = picture.metadata["external"]
    sha256 = hashlib.sha256(SIGNED[kind]).hexdigest()
    assert external["original"] == {"sha256": sha256, "mime_type": FORMATS[kind]}
    assert "credentials_ended" in [notice["code"] for notice in external["notices"]]
    # What the notice says is so: Invoke's copy is a PNG with its texts in it.
    assert validation_state(picture.data, "image/png") in ("Invalid", "")
    answer = house.anna.request("GET", f"/v1/external/originals/{picture.name}")
    assert (answer.status_code, answer.content) == (200, SIGNED[kind])
    assert answer.headers["content-type"] == FORMATS[kind]
    assert validation_state(answer.content, FORMATS[kind]) == "Valid"


def test_it_is_for_its_owner_an_administrator_and_the_readers_of_its_board(house: House, sandbox: Sandbox) -> None:
    board = house.anna.send("POST", "/v1/boards/", params={"board_name": "hers"})["board_id"]
    serve(sandbox, SIGNED["PNG"])
    [picture] = house.anna.run(workflow_graph(house.model, board={"board_id": board}))
    assert picture.record["board_id"] == board
    assert original(house.anna, picture.name) == (200, SIGNED["PNG"])
    assert original(house.admin, picture.name) == (200, SIGNED["PNG"])
    assert original(house.bob, picture.name)[0] in (403, 404)
    assert original(house.stranger, picture.name)[0] == 401
    for visibility, status in (("shared", 200), ("private", 403), ("public", 200)):
        changed = house.anna.request("PATCH", f"/v1/boards/{board}", json={"board_visibility": visibility})
        assert changed.status_code in (200, 201), changed.text
        assert original(house.bob, picture.name)[0] == status


def test_metadata_of_somebody_s_own_lead_to_no_original(house: House, sandbox: Sandbox, photo: Image.Image) -> None:
    serve(sandbox, SIGNED["JPEG"])
    [picture] = house.anna.run(workflow_graph(house.model, prompt="hers alone"))
    with_hers = house.bob.upload(photo, metadata=picture.metadata)
    assert house.bob.picture(with_hers).metadata["external"]["original"] == picture.metadata["external"]["original"]
    assert original(house.bob, with_hers)[0] == 404


def test_a_copy_from_the_cache_has_it_too(house: House, sandbox: Sandbox) -> None:
    serve(sandbox, SIGNED["WEBP"])
    graph = workflow_graph(house.model, prompt="cached", use_cache=True)
    [first] = house.anna.run(graph)
    [again] = house.anna.run(graph)
    assert again.name != first.name
    assert original(house.anna, again.name) == original(house.anna, first.name) == (200, SIGNED["WEBP"])


def test_an_image_that_is_not_signed_has_no_original(house: House, sandbox: Sandbox) -> None:
    [picture] = house.anna.run(workflow_graph(house.model, prompt="not signed"))
    assert "original" not in picture.metadata["external"]
    assert original(house.anna, picture.name)[0] == 404
    assert original(house.admin, "no-such-image.png")[0] == 404
    # Invoke's page answers where there is no such route.
    assert b"schema_version" not in original(house.admin, "..%2Finvokeai.yaml")[1]


def test_a_mask_of_invoke_is_recalled_as_it_marks(
    house: House, sandbox: Sandbox, photo: Image.Image, hole: Image.Image
) -> None:
    base, mask = house.anna.upload(photo), house.anna.upload(hole)
    fields: Json = {"init_image": {"image_name": base}, "mask_image": {"image_name": mask}}
    [picture] = house.anna.run(workflow_graph(house.model, **fields))
    assert picture.metadata["external"]["mask"]["marks"] == "black"
