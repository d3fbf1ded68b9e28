"""Images pass through Invoke unchanged: from the provider to the gallery, and from there to the provider."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image, ImageCms

from ..support.samples import PNG_MODES, chunk, chunks, encoded, info, painted, png_of, with_chunks
from ..support.servers import SandboxServer
from .canned import Canned
from .conftest import NewInvoke
from .graphs import PROMPT, workflow_graph
from .invoke import Invoke, Json
from .packing import REPOSITORY

SIZE = (300, 200)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TEXTS = {"invokeai_metadata", "invokeai_workflow", "invokeai_graph"}


@pytest.fixture(scope="module")
def provider() -> Iterator[tuple[Canned, str]]:
    canned = Canned()
    with SandboxServer(canned.app) as server:
        yield canned, server.url


@pytest.fixture
def canned(provider: tuple[Canned, str]) -> Canned:
    provider[0].calls = 0
    return provider[0]


@pytest.fixture(scope="module")
def photographing(new_invoke: NewInvoke, provider: tuple[Canned, str]) -> Invoke:
    """An Invoke that uses the canned provider as OpenAI."""
    invoke = new_invoke(keys=("openai",))
    invoke.base_urls["openai"] = f"{provider[1]}/openai/v1"
    invoke.start_with_models()
    return invoke


@pytest.fixture
def graph(photographing: Invoke) -> Json:
    return workflow_graph(photographing.model("openai/gpt-image-2.5-flare"))


def keyword_of(kind: bytes, body: bytes) -> str | None:
    return body.partition(b"\0")[0].decode("latin-1") if kind in (b"tEXt", b"zTXt", b"iTXt") else None


def without_texts(data: bytes) -> list[tuple[bytes, bytes]]:
    return [part for part in chunks(data) if keyword_of(*part) not in TEXTS]


def texts_of(data: bytes) -> list[str]:
    return sorted(keyword for part in chunks(data) if (keyword := keyword_of(*part)) in TEXTS)


def sixteen_bits() -> bytes:
    """RGB with 16 bits per channel, which Pillow cannot write or fully read."""
    width, height = 24, 16
    rows = b"".join(b"\0" + struct.pack(f">{3 * width}H", *range(y, y + 3 * width * 300, 300)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


FILES = {
    **{mode: png_of(mode, SIZE) for mode in PNG_MODES},
    "RGBA, large": png_of("RGBA", (1100, 900)),
    "16 bits": sixteen_bits(),
    "profile": png_of("RGB", SIZE, icc_profile=PROFILE),
    "other chunks": with_chunks(png_of("RGB", SIZE), (b"caBX", b"who made it"), (b"tEXt", b"Title\0A fox")),
    "a text of another Invoke": with_chunks(png_of("RGB", SIZE), (b"tEXt", b"invokeai_workflow\0{}")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_png_is_saved_as_received(photographing: Invoke, canned: Canned, graph: Json, name: str) -> None:
    canned.image = FILES[name]
    [picture] = photographing.run(graph)
    assert without_texts(picture.data) == without_texts(FILES[name])
    assert texts_of(picture.data) == ["invokeai_graph", "invokeai_metadata"]
    assert picture.metadata["positive_prompt"] == PROMPT
    with Image.open(io.BytesIO(FILES[name])) as came:
        assert (picture.record["width"], picture.record["height"]) == came.size
        assert picture.image.mode == came.mode
    thumbnail = photographing.request("GET", f"/v1/images/i/{picture.name}/thumbnail")
    with Image.open(io.BytesIO(thumbnail.content)) as small:
        assert max(small.size) <= 256


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_another_format_becomes_a_png_with_the_same_pixels(
    photographing: Invoke, canned: Canned, graph: Json, kind: str
) -> None:
    canned.image = encoded(painted("RGB", SIZE), kind, icc_profile=PROFILE)
    [picture] = photographing.run(graph)
    with Image.open(io.BytesIO(canned.image)) as came:
        assert picture.image.tobytes() == came.convert("RGB").tobytes()
    assert picture.image.format == "PNG"
    assert info(picture.data)["icc_profile"] == PROFILE


def test_the_next_node_reads_the_received_image(photographing: Invoke, canned: Canned, graph: Json) -> None:
    """Invoke passes the saved object itself to the next node."""
    canned.image = png_of("RGBA", SIZE)
    graph["nodes"]["each"] = {"id": "each", "type": "iterate"}
    graph["nodes"]["grey"] = {"id": "grey", "type": "img_conv", "mode": "L"}
    graph["edges"] = [
        {"source": {"node_id": a, "field": b}, "destination": {"node_id": c, "field": d}}
        for a, b, c, d in (("picture", "collection", "each", "collection"), ("each", "item", "grey", "image"))
    ]
    item = photographing.ended(photographing.enqueue(graph))
    assert item["status"] == "completed", item["error_message"]
    [made] = [o["image"]["image_name"] for o in item["session"]["results"].values() if o["type"] == "image_output"]
    with Image.open(io.BytesIO(canned.image)) as came:
        assert photographing.picture(made).image.tobytes() == came.convert("L").tobytes()


class TestCache:
    """A run from the cache copies the file."""

    def test_the_copy_has_the_same_bytes_and_texts(self, photographing: Invoke, canned: Canned, graph: Json) -> None:
        canned.image = FILES["16 bits"]
        graph["nodes"]["picture"] |= {"use_cache": True, "prompt": "copied"}
        workflow = json.loads((REPOSITORY / "workflows" / "text-to-picture.json").read_text(encoding="utf-8"))
        pictures = [*photographing.run(graph, workflow=workflow), *photographing.run(graph)]
        assert canned.calls == 1
        for picture in pictures:
            assert without_texts(picture.data) == chunks(FILES["16 bits"])
        first, second = pictures
        assert texts_of(first.data) == ["invokeai_graph", "invokeai_metadata", "invokeai_workflow"]
        # The second run had no workflow.
        assert texts_of(second.data) == ["invokeai_graph", "invokeai_metadata"]
        assert second.metadata["external"]["from_cache"] is True


def test_input_images_are_sent_as_on_disk(
    photographing: Invoke, canned: Canned, graph: Json, photo: Image.Image
) -> None:
    canned.image = png_of("RGB", SIZE)
    names = [photographing.upload(photo), *(photographing.upload(painted(mode, SIZE)) for mode in ("RGBA", "L", "P"))]
    init, *references = [{"image_name": name} for name in names]
    graph["nodes"]["picture"] |= {"init_image": init, "reference_images": references}
    photographing.run(graph)
    assert len(canned.sent) == len(names)
    for name, sent in zip(names, canned.sent, strict=True):
        [path] = (photographing.root / "outputs" / "images").rglob(name)
        on_disk = path.read_bytes()
        assert [body for kind, body in chunks(sent) if kind in (b"IHDR", b"PLTE", b"IDAT")] == [
            body for kind, body in chunks(on_disk) if kind in (b"IHDR", b"PLTE", b"IDAT")
        ]
        assert all(keyword_of(*part) is None for part in chunks(sent))
