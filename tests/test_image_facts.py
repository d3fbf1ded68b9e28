"""What the metadata of an image says of its cost, its model and its notices."""

from __future__ import annotations

from typing import Any

import pytest

from invokeai_external.invoke.gallery.image_facts import ImageFacts, image_facts

KNOWN = {"provider": "openai", "model": "gpt-image-2"}


def test_the_facts_of_an_image() -> None:
    notices = [{"code": "size_changed", "message": "One."}, {"code": "sandbox", "message": "Two,\nin\tone line."}]
    found = image_facts({"positive_prompt": "a fox", "external": {**KNOWN, "cost_usd": 0.041, "notices": notices}})
    assert found == ImageFacts(0.041, "openai/gpt-image-2", ("One.", "Two, in one line."))


def test_a_cost_that_is_not_in_the_metadata_is_unknown_and_not_zero() -> None:
    """As with ``metadata_cost: false``."""
    assert image_facts({"external": KNOWN}).cost_usd is None
    assert image_facts({"external": {**KNOWN, "cost_usd": 0, "from_cache": True}}).cost_usd == 0


@pytest.mark.parametrize("metadata", [{}, {"model": {"name": "SDXL"}}, {"external": "x"}, {"external": None}])
def test_an_image_of_no_provider_has_no_facts(metadata: dict[str, Any]) -> None:
    assert image_facts(metadata) == ImageFacts()


@pytest.mark.parametrize(
    "external",
    [
        {"cost_usd": "0.04", "provider": "openai", "notices": {"message": "x"}},
        {"cost_usd": -1, "model": "gpt-image-2", "notices": ["x", {"message": 1}, {"message": "\u200b"}, None]},
        {"cost_usd": float("nan"), "provider": ["openai"], "model": {"id": 1}},
        {"cost_usd": True, "provider": "", "model": "gpt-image-2"},
        {"cost_usd": 1e300},
    ],
)
def test_what_an_uploaded_image_pretends_is_not_taken(external: dict[str, Any]) -> None:
    assert image_facts({"external": external}) == ImageFacts()
