"""Options as lines of a text, as the node *External Image* reads them."""

from __future__ import annotations

import pytest

from invokeai_external.errors import InvalidRequestError
from invokeai_external.planning.option_texts import options_of_lines


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("\n  \n", {}),
        ("quality=high", {"quality": "high"}),
        (" quality =high\r\n\nseed_mode=a=b\n", {"quality": "high", "seed_mode": "a=b"}),
        ("negative_prompt= a, Ä ", {"negative_prompt": " a, Ä "}),
        ("quality=", {"quality": ""}),
    ],
)
def test_each_line_is_an_option(text: str, options: dict[str, str]) -> None:
    assert options_of_lines(text) == options


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        (
            "quality=high\nmoderation",
            "The option 'moderation' has no value.",
            "Write NAME=VALUE, such as quality=high.",
        ),
        ("=high", "The option '=high' has no name.", "Write NAME=VALUE, such as quality=high."),
        ("quality: high", "The option 'quality: high' has no value.", "Write NAME=VALUE, such as quality=high."),
        ("quality=low\nquality=low", "The option quality is given twice.", "Remove one of the two."),
    ],
)
def test_a_mistake_is_named(text: str, message: str, remedy: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        options_of_lines(text)
    assert (raised.value.message, raised.value.hint) == (message, remedy)
