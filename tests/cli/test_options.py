"""Options of models on the command line: their flags, ``--option``, its completion, and what recall prints of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.cli.completions import options as completions
from invokeai_external.cli.recalled_arguments import recall_command
from invokeai_external.providers import catalog
from invokeai_external.providers.option_flags import FLAGS
from invokeai_external.providers.schema import NumberOption

from ..support.programs import GEMINI, OPENAI, image_file

OWN = "openai/acme-1"
USER_FILE = """\
models:
  openai/acme-1:
    name: Acme
    options:
      negative_prompt: {text: true, max_characters: 20}
      guidance: {minimum: 0, maximum: 20}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    (path / "invokeai_external.yaml").write_text(USER_FILE, encoding="utf-8")
    return path


@pytest.fixture
def planned(run: Any, root: Path) -> Any:
    def plan(*arguments: object, model: str = OWN) -> Any:
        return run("generate", "a fox", "--model", model, "--root", root, "--dry-run", "--json", *arguments)

    return plan


def test_an_option_without_a_flag_is_sent(planned: Any) -> None:
    sent = planned("-o", "negative_prompt= a=b, Ä ", "--option", "guidance=7.5").json["requests"][0]["json"]
    assert (sent["negative_prompt"], sent["guidance"]) == (" a=b, Ä ", 7.5)


def test_an_option_is_sent_in_the_form_of_an_edit(planned: Any, tmp_path: Path) -> None:
    edit = planned("-o", "negative_prompt=Blur", "--init", image_file(tmp_path / "a.png")).json["requests"][0]
    assert edit["form"]["negative_prompt"] == "Blur"


@pytest.mark.parametrize(
    ("model", "flags", "options"),
    [
        (OPENAI, ("--quality", "High"), ("quality=High",)),
        (
            OPENAI,
            ("--output-format", "jpeg", "--output-compression", 80),
            ("output_format=jpeg", "output_compression=80"),
        ),
        (GEMINI, ("--temperature", 0.5, "--web-search", "off"), ("temperature=0.5", "web_search=off")),
        (GEMINI, ("--quality", "high"), ("quality=high",)),
        (OPENAI, (), ("quality=",)),
    ],
)
def test_a_flag_and_option_are_the_same(model: str, flags: tuple[str], options: tuple[str], planned: Any) -> None:
    with_option = planned(*(word for text in options for word in ("-o", text)), model=model)
    assert with_option.json == planned(*flags, model=model).json


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (("-o", "quality"), "usage", ("'quality' has no value", "NAME=VALUE")),
        (("-o", ""), "usage", ("has no value", "NAME=VALUE")),
        (("-o", "=high"), "usage", ("'=high' has no name", "NAME=VALUE")),
        (("-o", "quality=low", "-o", "quality=high"), "usage", ("quality", "twice with --option", "Remove one")),
        (("-o", "quality=low", "--quality", "low"), "usage", ("quality", "with --quality and with --option")),
        (("-o", "negativ_prompt=a"), "invalid_request", ("'negativ_prompt'", "Did you mean negative_prompt?")),
        (("-o", "input-fidelity=low"), "invalid_request", ("Did you mean input_fidelity?",)),
        (("-o", "seed=3"), "invalid_request", ("seed is not an option", "flag of generate")),
        (("-o", "guidance=nan"), "capability", ("'nan'", "0 to 20")),
        (("-o", f"negative_prompt={'x' * 21}"), "capability", ("21 characters", "at most 20", "Shorten")),
    ],
)
def test_a_mistake_is_reported_before_anything_is_sent(
    arguments: tuple[str, ...], code: str, facts: tuple[str, ...], planned: Any
) -> None:
    done = planned(*arguments)
    error = done.json["error"]
    assert (done.code, error["code"]) == (2, code)
    assert [fact for fact in facts if fact not in f"{error['message']} {error['hint']}"] == []


def test_an_option_of_another_model_has_a_notice(planned: Any) -> None:
    notices = planned("-o", "negative_prompt=Blur", model=GEMINI).json["notices"]
    assert [notice["code"] for notice in notices if "negative prompt" in notice["message"]] == ["option_dropped"]


def test_recall_prints_what_generate_reads(run: Any, root: Path) -> None:
    options = {"quality": "high", "negative_prompt": """ $a "b" 'c'=-d""", "guidance": 7.5}
    metadata = {"positive_prompt": "a fox", "external": {"provider": "openai", "model": "acme-1", "options": options}}
    again = run(*recall_command(metadata)[1:], "--root", root, "--dry-run", "--json").json["requests"][0]["json"]
    assert {name: again[name] for name in options} == options


def test_models_show_says_how_each_option_is_given(run: Any, root: Path) -> None:
    shown = run("models", "show", OWN, "--root", root).stdout
    assert [line for line in shown.splitlines() if line.startswith(("--complexity", "-o "))] == [
        "--complexity              low, medium, high",
        "-o negative_prompt        text, up to 20 characters",
        "-o guidance               0 to 20",
    ]


# Completion


@pytest.mark.parametrize(
    ("incomplete", "model", "offered"),
    [
        ("frame", None, ["frame_count=", "frame_duration_ms="]),
        ("nega", OWN, ["negative_prompt="]),
        ("nega", "gemini/gemini-3-pro-image", []),
        ("complex", OWN, ["complexity=low", "complexity=medium", "complexity=high"]),
        ("quality=h", OPENAI, ["quality=high"]),
        ("output_c", None, ["output_compression="]),
        ("quality=h", None, ["quality=high", "quality=hd"]),
        ("nonsense=", None, []),
        ("quality=", "openai/gpt-imge-2", []),
    ],
)
def test_completion_offers_names_and_values(incomplete: str, model: str | None, offered: list[str], root: Path) -> None:
    assert sorted(completions(incomplete, model, root)) == sorted(offered)


def test_completion_with_a_broken_settings_file_offers_nothing(root: Path) -> None:
    (root / "invokeai_external.yaml").write_text("models: [", encoding="utf-8")
    assert completions("quality", None, root) == []


@pytest.mark.slow
def test_a_shell_completes_the_options_of_the_model_that_was_written(root: Path) -> None:
    words = f"invokeai-external generate --root {root} --model {OWN} -o neg"
    asked = {"_INVOKEAI_EXTERNAL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    code = "import sys; from invokeai_external.cli.entry_point import main; sys.argv[0] = 'invokeai-external'; main([])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **asked}, check=False)
    assert "negative_prompt=" in done.stdout
    assert done.stderr == ""


# The flags


def test_each_flag_is_an_option_of_its_provider() -> None:
    for page in catalog.pages():
        assert set(page.flags) <= {name for config in page.configs() for name in config.options}
    assert list(FLAGS) == list(dict.fromkeys(name for page in catalog.pages() for name in page.flags))


def test_a_flag_has_the_type_of_its_option() -> None:
    for config in (config for page in catalog.pages() if page.provider.in_invoke for config in page.configs()):
        for name, option in config.options.items():
            kind = FLAGS[name][0]
            assert kind is ((int if option.whole else float) if isinstance(option, NumberOption) else str)
