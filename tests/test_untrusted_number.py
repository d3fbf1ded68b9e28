"""Numbers from outside are within their range, or unknown."""

from __future__ import annotations

import math

import pytest

from invokeai_external.untrusted_number import number, number_in_text, whole_number

NOT_NUMBERS = [
    None,
    True,
    False,
    "5",
    "",
    b"5",
    [5],
    {"a": 5},
    math.nan,
    math.inf,
    -math.inf,
    10**308,
    10**400,
    -1,
    -1.0,
]


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_not_a_number_in_its_range_is_unknown(value: object) -> None:
    assert number(value, 0, 1000) is None
    assert whole_number(value, 0, 1000) is None


@pytest.mark.parametrize("value", [0, 5, 1000])
def test_a_number_in_its_range_is_itself(value: int) -> None:
    assert whole_number(value, 0, 1000) == number(value, 0, 1000) == value


def test_only_an_integer_is_a_whole_number() -> None:
    assert (number(4.5, 0, 10), whole_number(4.5, 0, 10), whole_number(4.0, 0, 10)) == (4.5, None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        (" 20.75 ", 20.75),
        ("-3", -3),
        ("1e3", 1000),
        *(
            (text, None)
            for text in (None, "", "x", "1_000", "٣", "²", "nan", "inf", "1e999", "9" * 5000, "0x10", "1,5")
        ),
    ],
)
def test_a_number_in_a_text(text: str | None, value: float | None) -> None:
    assert number_in_text(text) == value
