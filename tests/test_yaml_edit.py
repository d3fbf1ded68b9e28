"""One value of a YAML file is changed, and no other line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from invokeai_external import SettingsError
from invokeai_external.settings.yaml_edit import edit_file, edited, one_line

BEFORE = """# mine
settings: {concurrency: 2}
providers:  # the servers
    acme:
        base_url: https://a.example  # the old one
        # what it costs
        cost_from: tokens

# My models
models:
    acme/a: {extends: openai/gpt-image-2}
"""


@pytest.mark.parametrize(
    ("place", "value", "old", "new"),
    [
        ("providers acme base_url", "https://b.example", "https://a.example", "https://b.example"),
        ("providers acme cost_from", None, "        cost_from: tokens\n", ""),
        (
            "providers acme list_models",
            "false",
            "cost_from: tokens\n",
            "cost_from: tokens\n        list_models: false\n",
        ),
        (
            "providers azure base_url",
            "https://c.example",
            "cost_from: tokens\n",
            "cost_from: tokens\n    azure:\n      base_url: https://c.example\n",
        ),
        ("models acme/a extends", "openai/gpt-image-1.5", "openai/gpt-image-2", "openai/gpt-image-1.5"),
        (
            "models acme/b extends",
            "openai/gpt-image-2",
            "gpt-image-2}\n",
            "gpt-image-2}\n    acme/b:\n      extends: openai/gpt-image-2\n",
        ),
        ("sandbox", "true", "gpt-image-2}\n", "gpt-image-2}\nsandbox: true\n"),
        ("settings concurrency", "3", "concurrency: 2", "concurrency: 3"),
        ("providers acme timeout_s", None, "", ""),
    ],
)
def test_only_the_lines_of_the_value_change(place: str, value: str | None, old: str, new: str) -> None:
    assert edited(BEFORE, [(place.split(), value)]) == BEFORE.replace(old, new)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "a:\n  b: 1\n"),
        ("# mine", "# mine\na:\n  b: 1\n"),
        ("a:", "a:\n  b: 1\n"),
        ("a:  # empty\nc: 2\n", "a:  # empty\n  b: 1\nc: 2\n"),
        ("a: {}  # empty\nc: 2\n", "a:  # empty\n  b: 1\nc: 2\n"),
        ("a: null\r\nc: 2\r\n", "a:\r\n  b: 1\r\nc: 2\r\n"),
        ("a:\n  c: |\n    text\n\n\nd: 3\n", "a:\n  c: |\n    text\n\n\n  b: 1\nd: 3\n"),
        ("a:\n    c: [1,\n      2] # two\n", "a:\n    c: [1,\n      2] # two\n    b: 1\n"),
        ("x: &x {y: 1}\na:\n  c: *x\n", "x: &x {y: 1}\na:\n  c: *x\n  b: 1\n"),
    ],
)
def test_a_mapping_that_is_empty_or_missing_is_begun(before: str, after: str) -> None:
    assert edited(before, [(("a", "b"), "1")]) == after


@pytest.mark.parametrize(
    "before",
    [
        "a: {c: 1}\n",
        "{a: {c: 1}}\n",
        "a: text\n",
        "a: [1]\n",
        "a: {b: 2, b: 3}\n",
        "x: &x {c: 1}\na: *x\n",
        "c: 1\n...\n",
        "  c: 1\n",
    ],
)
def test_what_lines_cannot_show_is_not_changed(before: str) -> None:
    assert edited(before, [(("a", "b"), "1")]) is None


names = st.sampled_from(["a", "b", "c d", "1", "null", "e/f", "true", "#g"])
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab:#{}[] '\"&*!|>%@", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60)
@given(
    st.dictionaries(names, trees, max_size=4),
    st.lists(names, min_size=1, max_size=3),
    trees,
    st.sampled_from([False, None]),
)
def test_any_value_is_read_back_and_all_others_are_as_before(
    data: dict[str, object], place: list[str], value: object, flow: bool | None
) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, sort_keys=False) if data else ""
    after = edited(text, [(place, one_line(value))])
    if after is None:
        return
    wanted = yaml.safe_load(text) or {}
    inner = wanted
    for name in place[:-1]:
        inner[name] = inner.get(name) or {}
        inner = inner[name]
    inner[place[-1]] = value
    assert yaml.safe_load(after) == wanted
    removed = edited(after, [(place, None)])
    if removed is not None:
        del inner[place[-1]]
        assert (_without_empty(yaml.safe_load(removed)) or {}) == _without_empty(wanted)


def _without_empty(data: object) -> object:
    """A mapping whose last entry was removed reads as null."""
    if not isinstance(data, dict):
        return data
    return {name: inner for name, value in data.items() if (inner := _without_empty(value)) not in (None, {})}


def test_the_mode_of_a_file_stays_and_a_private_one_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n")
    path.chmod(0o640)
    edit_file(path, lambda file: [(("b",), "2")], by_hand="")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("a: 1\nb: 2\n", 0o640)
    edit_file(path, lambda file: [(("b",), None)], by_hand="", private=True)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("a: 1\n", 0o600)


def test_a_text_that_is_refused_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"

    def refuse(file: Path, text: str) -> None:
        assert (file, text) == (path, "b: 2\n")
        raise SettingsError("No.")

    with pytest.raises(SettingsError, match="No"):
        edit_file(path, lambda file: [(("b",), "2")], by_hand="", check=refuse)
    assert not path.exists()
