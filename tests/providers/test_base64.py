"""Base64 in steps gives the same as base64 in one piece."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.adapters import base64_text
from invokeai_external.adapters.base64_text import decode_base64
from invokeai_external.transport.messages import Base64


@given(st.binary(max_size=80), st.integers(1, 9), st.sampled_from(["", "=", "==", "===\n", " "]), st.booleans())
def test_decoding_in_steps_of_any_size(data: bytes, step: int, end: str, for_urls: bool) -> None:
    text = (base64.urlsafe_b64encode(data) if for_urls else base64.b64encode(data)).decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64_text, "_CHUNK", step)
        assert decode_base64(text) == data
        assert decode_base64(text.rstrip("=") + end) == data
        assert decode_base64(f"data:image/png;base64,{text[:5]}\r\n{text[5:]}") == data


@pytest.mark.parametrize("text", ["A", "AB=C", "AB==CDEF", "***", "ABCDE", "data:image/png", "ü"])
@pytest.mark.parametrize("step", [1, 3, 4, 1 << 20])
def test_what_is_not_base64_is_a_value_error(text: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base64_text, "_CHUNK", step)
    with pytest.raises(ValueError):  # noqa: PT011
        decode_base64(text)


@pytest.mark.parametrize("size", [0, 1, 2, 3, (3 << 16) - 1, 3 << 16, (3 << 17) + 1])
def test_encoding_in_steps(size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    text = base64.b64encode(data).decode()
    assert str(Base64(data)) == text
    assert str(Base64(data, prefix="data:image/png;base64,")) == f"data:image/png;base64,{text}"
    assert [len(Base64(data)), len(Base64(data, prefix="data:"))] == [len(text), len(text) + 5]
