"""``recall`` of foreign files: the printed command can be pasted and only asks for the image again."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from invokeai_external.cli.app import app
from invokeai_external.cli.entry_point import main
from invokeai_external.cli.option_flags import flag_of
from invokeai_external.cli.recalled_arguments import recall_command
from invokeai_external.images import metadata_files
from invokeai_external.images.text_chunks import embed_text
from invokeai_external.providers import catalog

from ..support.samples import png_of

PNG = png_of("RGB", (8, 8))
OPTIONS = {
    name for page in catalog.pages() if page.provider.in_invoke for config in page.configs() for name in config.options
}
FLAGS = {"--model", "--size", "--aspect-ratio", "--image-size", "--seed", "--init", "--mask", "--mask-color", "--ref"}
OURS = {"provider": "openai", "model": "gpt-image-2"}


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def recall(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Done]:
    """Recall an image whose file holds this text as its settings."""

    def recall_text(text: str, *arguments: str) -> Done:
        path = tmp_path / "image.png"
        path.write_bytes(embed_text(PNG, {"invokeai_metadata": text}))
        capsys.readouterr()
        return Done(main(["recall", str(path), *arguments]), *capsys.readouterr())

    return recall_text


def is_shown(text: str) -> bool:
    """True if nothing in it is acted on by a terminal, or cannot be seen at all."""
    return all(char in "\n\t\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs"} for char in text)


def assert_harmless(command: list[str]) -> None:
    """Only options that ``generate`` has, each with one value; the prompt may be anything."""
    assert command[:2] == ["invokeai-external", "generate"]
    rest = command[2:]
    if "--" in rest:
        assert rest[-2] == "--"
        rest = rest[:-2]
    else:
        assert not rest.pop(0).startswith("-")
    known = FLAGS | {flag_of(name) for name in OPTIONS}
    while rest:
        word = rest.pop(0)
        if word == "--sandbox":
            continue
        if word == "-o":
            assert re.fullmatch(r"[A-Za-z][\w.-]*=.+", rest.pop(0), re.ASCII)
            continue
        name, equals, _ = word.partition("=")
        assert name in known
        if not equals:
            assert not rest.pop(0).startswith("-")


HOSTILE: dict[str, str] = {
    "depth": '{"positive_prompt": "x", "external": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
    "depth that still parses": '{"positive_prompt": "x", "external": ' + "[" * 500 + "]" * 500 + "}",
    "unclosed": "[" * 100_000,
    "digits": '{"positive_prompt": "x", "seed": ' + "9" * 5000 + "}",
    "no object": '"text"',
    "no JSON": "{",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_settings_that_cannot_be_read_are_an_error(text: str, json_too: list[str], recall: Callable[..., Done]) -> None:
    done = recall(text, *json_too)
    assert done.code == 2
    assert "Traceback" not in done.err + done.out


def test_surrogates_and_control_codes_reach_no_terminal(recall: Callable[..., Done]) -> None:
    prompt = "a\x1b[31m \x9b31m fox \ud83e \u202e\u2066\x07\x00\r\n日本\u3000\u200d"
    text = json.dumps({"positive_prompt": prompt, "external": {**OURS, "\x1b]0;x\x07": "\x9b"}})
    done = recall(text)
    assert done.code == 0
    assert is_shown(done.out + done.err)
    assert shlex.split(done.out)[2] == "a[31m 31m fox ? \n日本\u3000"
    assert done.err != ""
    done = recall(text, "--json")
    assert is_shown(done.out)
    assert json.loads(done.out) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["naïve 狐 🦊", "two\nlines\tand a tab", "👨\u200d👩\u200d👧", "क्\u200cष", "日本\u3000語"]
)
def test_a_prompt_of_any_script_stays_as_it_is(text: str, recall: Callable[..., Done]) -> None:
    done = recall(json.dumps({"positive_prompt": text, "external": OURS}))
    assert shlex.split(done.out)[2] == text
    assert done.err == ""


def test_numbers_that_are_too_large_are_ignored(recall: Callable[..., Done]) -> None:
    text = '{"positive_prompt": "x", "external": {"cost_usd": NaN, "a": [-Infinity, 1e999, 1.5]}, "seed": 1e400}'
    assert json.loads(recall(text, "--json").out) == {
        "positive_prompt": "x",
        "external": {"cost_usd": None, "a": [None, None, 1.5]},
        "seed": None,
    }
    assert shlex.split(recall(text).out) == ["invokeai-external", "generate", "x"]


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        (
            {"options": {"root": "/tmp/evil", "n": 10, "json": "1"}},
            ["-o", "root=/tmp/evil", "-o", "n=10", "-o", "json=1"],
        ),
        ({"options": {"root /tmp/evil": "x", "quality\n": "high", "-o": "x", "a=b": "c", "": "x", "a" * 101: "x"}}, []),
        # A model of the user's own may have any option.
        ({"options": {"temperature": 1, "style": "a " * 200}}, ["--temperature", "1", "--style", "a " * 200]),
        ({"options": {"negative_prompt": ' "a"; = $b\u00e9'}}, ["-o", 'negative_prompt= "a"; = $b\u00e9']),
        ({"options": {"cfg.scale-2": -1.5, "Tone": "--root=x"}}, ["-o", "cfg.scale-2=-1.5", "-o", "Tone=--root=x"]),
        ({"options": {"tone": "a\nb", "hue": "a\x1b[0m", "a": "\ud800", "b": "", "c": ["d"], "e": "x" * 32_001}}, []),
        ({"options": {"quality": "--root=/tmp/evil"}}, ["--quality=--root=/tmp/evil"]),
        ({"options": {"quality": "high; rm -rf ~"}}, ["--quality", "high; rm -rf ~"]),
        ({"options": {"quality": ["high"], "background": {"a": 1}, "moderation": True, "style": None}}, []),
        ({"options": {"quality": "a\nb", "background": "a\x1b[0m", "moderation": "\ud800", "style": "x" * 32_001}}, []),
        ({"options": "quality", "references": {"name": "a"}, "notices": "sandbox"}, []),
        ({"size": "--root", "init_image": {"name": "--root"}}, ["--size=--root", "--init=--root"]),
        ({"init_image": {"name": "/home/me/.ssh/id_rsa"}}, ["--init", "id_rsa"]),
        ({"init_image": {"name": "C:\\Users\\me\\a.png"}}, ["--init", "a.png"]),
        (
            {"init_image": {"name": ["a"]}, "mask": {"name": ""}, "references": [1, {"name": "../b.png"}]},
            ["--ref", "b.png"],
        ),
        ({"size": 1 << 70, "references": [{"name": 5}]}, []),
        ({"aspect_ratio": ["16:9"], "size": "1x1"}, []),
        ({"notices": [1, {"code": ["sandbox"]}, {"code": "sandbox"}, {"code": "sandbox"}]}, ["--sandbox"]),
    ],
)
def test_only_plain_options_that_generate_knows_are_printed(
    fields: dict[str, Any], more: list[str], recall: Callable[..., Done]
) -> None:
    done = recall(json.dumps({"positive_prompt": "x", "external": {**OURS, **fields}}))
    assert shlex.split(done.out) == ["invokeai-external", "generate", "x", "--model", "openai/gpt-image-2", *more]


@pytest.mark.parametrize("value", ["-1", -1, "--root"])
def test_a_value_that_begins_with_a_dash_is_not_an_option(value: object) -> None:
    command = recall_command({"positive_prompt": "x", "seed": value, "external": OURS})
    assert command[-1] == f"--seed={value}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["-x", "--root", "sandbox"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
externals = st.fixed_dictionaries(
    {},
    optional={
        "provider": st.sampled_from(["openai", "gemini", "acme"]) | json_values,
        "model": st.sampled_from(["gpt-image-2", "-x"]) | json_values,
        "size": json_values,
        "aspect_ratio": json_values,
        "init_image": json_values | st.fixed_dictionaries({"name": json_values}),
        "mask": json_values | st.fixed_dictionaries({"name": json_values, "marks": json_values}),
        "references": json_values | st.lists(st.fixed_dictionaries({"name": json_values}), max_size=3),
        "options": json_values | st.dictionaries(st.sampled_from(sorted(OPTIONS)) | st.text(), json_values, max_size=5),
        "notices": json_values | st.lists(st.fixed_dictionaries({"code": json_values}), max_size=3),
    },
)


@pytest.mark.slow
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "positive_prompt": json_values,
            "seed": json_values,
            "image_size": json_values,
            "model": json_values | st.fixed_dictionaries({"key": json_values}),
            "external": externals | json_values,
        },
    )
)
def test_whatever_the_settings_hold_the_command_is_harmless(found: dict[str, Any]) -> None:
    command = recall_command(found)
    assert_harmless(command)
    printed = shlex.join(command)
    assert is_shown(printed)
    assert shlex.split(printed) == command


def test_generate_has_every_flag_that_recall_prints() -> None:
    command = typer.main.get_command(app)
    flags = {flag for parameter in command.commands["generate"].params for flag in parameter.opts}  # type: ignore[attr-defined]
    assert flags >= FLAGS | {"--sandbox", "-o"} | {flag for name in OPTIONS if (flag := flag_of(name))}


# Masks and the sandbox


@pytest.mark.parametrize(
    ("found", "is_black"),
    [
        ({"external": {**OURS, "mask": {"name": "m.png", "marks": "black"}}}, True),
        ({"external": {**OURS, "mask": {"name": "m.png"}}}, False),
        # Of version 0.1: made in Invoke, by the key of its record, and on the command line.
        ({"model": {"key": "openai-gpt-image-2"}, "external": {**OURS, "mask": {"name": "m.png"}}}, True),
        ({"model": {"key": "external:openai:gpt-image-2"}, "external": {**OURS, "mask": {"name": "m.png"}}}, False),
        ({"model": {"key": "x"}, "external": {**OURS, "mask": {"name": "m.png", "marks": "white"}}}, False),
        ({"model": {"key": "x"}, "external": {**OURS, "mask": {"name": "m.png", "marks": "; rm"}}}, False),
        ({"model": {"key": "x"}, "external": OURS}, False),
    ],
)
def test_a_mask_is_recalled_with_the_color_that_marks(found: dict[str, Any], is_black: bool) -> None:
    command = recall_command({"positive_prompt": "x", **found})
    assert ("--mask-color" in command) is is_black
    if is_black:
        assert command[command.index("--mask") :][:4] == ["--mask", "m.png", "--mask-color", "black"]


def test_a_mask_in_black_changes_what_its_complement_in_white_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.linear_gradient("L").convert("RGB").save("base.png")
    white = Image.new("L", (256, 256))
    white.paste(255, (50, 60, 150, 160))
    white.save("white.png")
    white.point([255 - value for value in range(256)]).save("black.png")
    made = {}
    for color, more in (("white", []), ("black", ["--mask-color", "black"])):
        asked = ["generate", "a moon", "--model", "openai/gpt-image-2", "--init", "base.png", "--mask", f"{color}.png"]
        assert main([*asked, *more, "--sandbox"]) == 0
        path = capsys.readouterr().out.strip()
        with Image.open(path) as image:
            made[color] = image.tobytes()
        assert main(["recall", path]) == 0
        recalled = shlex.split(capsys.readouterr().out)
        # What is pasted costs nothing, and makes the same image again.
        assert recalled[1:] == [*asked, *more, "--sandbox"]
        assert main(recalled[1:]) == 0
        with Image.open(capsys.readouterr().out.strip()) as image:
            assert image.tobytes() == made[color]
    assert made["white"] == made["black"]


def test_a_color_of_a_mask_is_recalled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, mask = tmp_path / "base.png", tmp_path / "mask.png"
    Image.new("RGB", (64, 64), "grey").save(base)
    painted = Image.new("RGB", (64, 64), "grey")
    painted.paste("red", (0, 0, 32, 32))
    painted.save(mask)
    asked = ["generate", "x", "--model", "openai/gpt-image-2", "--init", str(base), "--mask", str(mask), "--sandbox"]
    assert main([*asked, "--mask-color", "no colour"]) == 2
    assert "'no colour'" in capsys.readouterr().err
    assert main(asked) == 2
    assert "--mask-color" in capsys.readouterr().err
    assert main([*asked, "--mask-color", "#f00", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "25%" in printed.err
    path = Path(printed.out.strip())
    with Image.open(path) as made:
        assert {made.getpixel((40, 40)), made.getpixel((33, 10))} == {(128, 128, 128)}
        assert made.getpixel((10, 10)) != (128, 128, 128)
    recorded = metadata_files.read(path.read_bytes())
    assert recorded is not None
    hashed = hashlib.sha256(mask.read_bytes()).hexdigest()
    assert recorded["external"]["mask"] == {"name": "mask.png", "sha256": hashed, "marks": "#f00"}
    assert recall_command(recorded)[-5:-1] == ["--mask", "mask.png", "--mask-color", "#f00"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("p.txt", b"words", "is not a"),
        ("p.gif", b"GIF89a" + bytes(20), "no metadata beside"),
        ("p.svg", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "no metadata beside"),
    ],
)
def test_a_file_without_metadata_is_an_error_that_fits_its_kind(
    name: str, data: bytes, said: str, run: Any, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    result = run("recall", tmp_path / name, "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "invalid_request")
    assert said in result.json["error"]["message"]
    assert "NAME.EXT.json" in result.json["error"]["hint"] or f"{name}.json" in result.json["error"]["hint"]
