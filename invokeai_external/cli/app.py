"""The commands, their options and their help. Nothing heavy is imported here, so that ``--help`` is fast."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..version import VERSION
from . import lazy_commands as commands

__all__ = ["app"]

app = typer.Typer(
    name="invokeai-external",
    help="Make pictures with Google's Gemini image models and OpenAI's GPT Image.",
    epilog="Exit codes: 0 done; 1 the provider or the network failed, wholly or in part; 2 nothing was sent: wrong "
    "usage, settings, missing key, or more than the model can do; 130 interrupted.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys_app = typer.Typer(
    help="Set, list, test and remove the providers' keys.", invoke_without_command=True, rich_markup_mode=None
)
app.add_typer(keys_app, name="keys")


class ProviderName(StrEnum):
    """The providers, as a choice on the command line; a test holds it equal to the registry's."""

    gemini = "gemini"
    openai = "openai"


MetadataChoice = Literal["auto", "embed", "sidecar", "none"]
"""The settings' ``MetadataMode``, whose module loads too much for a help page; mypy holds them equal."""

MaskColor = Literal["white", "black"]

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="INVOKE_ROOT",
        help="The folder of api_keys.yaml and invokeai_external.yaml. [default: INVOKEAI_ROOT, else your own]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, errors included.")]


def _version(shown: bool) -> None:
    if shown:
        print(VERSION)
        raise typer.Exit


@app.callback()
def _app(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Make pictures with Google's Gemini image models and OpenAI's GPT Image."""
    _help_without_command(context)


@keys_app.callback()
def _keys(context: typer.Context) -> None:
    """Set, list, test and remove the providers' keys."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="What the picture should show; - reads it from standard input.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="A text file that holds the prompt, in place of the argument.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="provider/model-id, a known id or an alias. [default: the newest model of a provider with a key]"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path(),
    n: Annotated[int, typer.Option("-n", help="How many pictures, 1 to 10.")] = 1,
    size: Annotated[str | None, typer.Option(help="Exact pixels, such as 1536x864.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="A ratio, such as 16:9.")] = None,
    image_size: Annotated[str | None, typer.Option(help="A named size: 512, 1K, 2K or 4K.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Makes a picture repeatable; picture i gets seed + i. Gemini only."),
    ] = None,
    ref: Annotated[
        list[Path] | None,
        typer.Option(help="A reference picture; give it several times for several."),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="The picture to edit.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Where to edit it: transparent, or else white, marks what to change."),
    ] = None,
    mask_color: Annotated[
        MaskColor,
        typer.Option(help="The color that marks what to change. Invoke's own masks mark it in black."),
    ] = "white",
    quality: Annotated[str | None, typer.Option(help="OpenAI: low, medium, high, from 2.5 on xhigh, max.")] = None,
    background: Annotated[str | None, typer.Option(help="OpenAI: opaque or transparent.")] = None,
    input_fidelity: Annotated[
        str | None,
        typer.Option(help="OpenAI, with a picture to edit: low or high."),
    ] = None,
    moderation: Annotated[str | None, typer.Option(help="OpenAI: low is less strict.")] = None,
    output_format: Annotated[str | None, typer.Option(help="OpenAI: png, jpeg or webp.")] = None,
    style: Annotated[str | None, typer.Option(help="DALL·E 3: vivid or natural.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Gemini: 0 to 1.")] = None,
    thinking_level: Annotated[str | None, typer.Option(help="Gemini: minimal, medium or high.")] = None,
    metadata: Annotated[
        MetadataChoice | None,
        typer.Option(
            help="Where the settings of an image go: embed, into its file; sidecar, into NAME.EXT.json beside it; "
            "none; auto, into the file unless it carries Content Credentials. [default: metadata of the settings, "
            "auto]"
        ),
    ] = None,
    previews: Annotated[
        Path | None,
        typer.Option(help="A folder to keep previews in: the picture while it is made. They may cost a little."),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Make sandbox pictures: no key, no network, no cost.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent and its cost; send nothing.")
    ] = False,
    json: Json = False,
    root: Root = None,
) -> int:
    """Make pictures from words, and from pictures.

    The pictures' paths are printed, one a line.
    """
    options = {
        "quality": quality,
        "background": background,
        "input_fidelity": input_fidelity,
        "moderation": moderation,
        "output_format": output_format,
        "style": style,
        "temperature": temperature,
        "thinking_level": thinking_level,
    }
    return commands.generate.run(
        commands.generate.Arguments(
            prompt=prompt,
            prompt_file=prompt_file,
            model=model,
            out=out,
            n=n,
            size=size,
            aspect_ratio=aspect_ratio,
            image_size=image_size,
            seed=seed,
            references=tuple(ref or ()),
            init=init,
            mask=mask,
            mask_color=mask_color,
            options={name: value for name, value in options.items() if value is not None},
            previews=previews,
        ),
        root=root,
        sandbox=sandbox,
        dry_run=dry_run,
        as_json=json,
        metadata=metadata,
    )


@app.command()
def models(
    provider: Annotated[ProviderName | None, typer.Option(help="Only this provider's.")] = None,
    all: Annotated[bool, typer.Option("--all", help="Retired ones as well.")] = False,
    json: Json = False,
    root: Root = None,
) -> None:
    """List the models: what they can do and what they cost."""
    commands.models.run(provider=provider and provider.value, with_retired=all, as_json=json, root=root)


@app.command()
def recall(
    picture: Annotated[Path, typer.Argument(help="A picture made by this program or its Invoke nodes.")],
    json: Annotated[bool, typer.Option("--json", help="Print the whole metadata as JSON.")] = False,
) -> None:
    """Print the command line that made a picture."""
    commands.recall.run(picture, as_json=json)


@app.command(short_help="Make pictures with both sandboxes, for nothing.")
def demo(
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path("demo-pictures"),
    json: Json = False,
) -> int:
    """Make pictures with both providers' sandboxes: no key, no account, no cost."""
    return commands.demo.run(out, as_json=json)


@app.command(short_help="Serve both providers' APIs on this machine.")
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to serve at; 0 for any that is free.")] = 9393,
) -> None:
    """Serve both providers' APIs on this machine, with pictures that cost nothing."""
    commands.sandbox.run(port)


@app.command()
def install(root: Root = None) -> None:
    """Put the node pack into an Invoke root."""
    commands.install.run(root)


@app.command()
def doctor(root: Root = None) -> int:
    """Say what is installed in an Invoke root, and what is wrong."""
    return commands.doctor.run(root)


@app.command(short_help="List images that were paid for and lie in no gallery.")
def undelivered(json: Json = False, root: Root = None) -> None:
    """List the images in an Invoke root that were paid for and that Invoke's gallery does not have."""
    commands.undelivered.run(root, as_json=json)


@keys_app.command("set", short_help="Ask for a key and write it into api_keys.yaml.")
def keys_set(provider: Annotated[ProviderName, typer.Argument(help="Whose key.")], root: Root = None) -> None:
    """Ask for a provider's key (or read it from standard input) and write it into api_keys.yaml."""
    commands.keys.set_one(provider.value, root=root)


@keys_app.command("list", short_help="Say which providers have a key, and from where.")
def keys_list(json: Json = False, root: Root = None) -> None:
    """Say which providers have a key and where it comes from; keys are never shown."""
    commands.keys.list_all(as_json=json, root=root)


@keys_app.command("test", short_help="Ask a provider whether it takes the key; costs nothing.")
def keys_test(
    provider: Annotated[ProviderName, typer.Argument(help="Whose key.")], json: Json = False, root: Root = None
) -> None:
    """Ask a provider for its list of models, which costs nothing and shows whether it answers and takes the key."""
    commands.keys.test_one(provider.value, as_json=json, root=root)


@keys_app.command("remove")
def keys_remove(provider: Annotated[ProviderName, typer.Argument(help="Whose key.")], root: Root = None) -> None:
    """Take a provider's key out of api_keys.yaml."""
    commands.keys.remove_one(provider.value, root=root)
