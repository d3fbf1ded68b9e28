"""The commands, their options and their help texts. It imports nothing slow, so that ``--help`` is fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..providers.built_in import built_in_ids
from ..version import VERSION
from . import lazy
from .option_flags import OptionFlags, complete_option, with_option_flags

__all__ = ["app"]

app = typer.Typer(
    name="invokeai-external",
    help="Make images with Google's Gemini image models and OpenAI's GPT Image.",
    epilog="Exit codes: 0, all done; 1, a provider, the network or the saving of files failed, in part or wholly; "
    "2, nothing was sent because the command, the settings, a key or the request must change first, or doctor found a "
    "problem; 130, interrupted.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys_app = typer.Typer(help="Set, list, test and remove API keys.", invoke_without_command=True, rich_markup_mode=None)
app.add_typer(keys_app, name="keys")
models_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(models_app, name="models")


_PROVIDERS = "|".join(built_in_ids())


def _provider(value: str | None) -> str | None:
    """The id of a provider, which may be written in any case; an empty text names no provider."""
    return value.lower() if value else None


def _provider_ids() -> list[str]:
    """What completion offers for a provider."""
    return list(built_in_ids())


def _provider_argument(text: str) -> Any:
    return typer.Argument(metavar=_PROVIDERS, help=text, callback=_provider, autocompletion=_provider_ids)


Provider = Annotated[str, _provider_argument("The provider that the key is for.")]

MetadataChoice = Literal["auto", "embed", "sidecar", "none"]
"""``MetadataMode`` of ``request``, which loads too much for a help page; a test compares the two."""


def _local(value: Path | list[Path] | None) -> Path | list[Path] | None:
    """Refuse a URL where a path is expected: as a path it has lost a slash, and no file has such a name."""
    for path in [value] if isinstance(value, Path) else value or ():
        text = str(path)
        if text.startswith("file:/"):
            raise typer.BadParameter(f"This is a URL; write the path: {text.removeprefix('file:')}")
        if re.match(r"[a-z][a-z0-9+.-]+:/|data:", text, re.IGNORECASE):
            url = text.replace(":/", "://", 1)
            url = url if len(url) <= _LONGEST_URL else f"{url[:_LONGEST_URL]}…"
            raise typer.BadParameter(f"{url} is a URL, not a path; download the file, then write its path.")
    return value


_LONGEST_URL = 200

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        callback=_local,
        help="The root folder: it holds api_keys.yaml and invokeai_external.yaml.  [default: INVOKEAI_ROOT if set, "
        "else your user settings folder]",
    ),
]
InvokeRoot = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="INVOKE_ROOT",
        callback=_local,
        help="The root folder of Invoke: it holds invokeai.yaml.  [default: INVOKEAI_ROOT if set, else your user "
        "settings folder]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result or the error as JSON.")]


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
    """Make images with Google's Gemini image models and OpenAI's GPT Image."""
    _help_without_command(context)


@keys_app.callback()
def _keys(context: typer.Context) -> None:
    """Set, list, test and remove API keys."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
@with_option_flags
def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="What the image should show; - reads it from standard input.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option(help="Read the prompt from this text file.", callback=_local)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="provider/model-id, a model id or an alias.  [default: default_model in invokeai_external.yaml, or "
            "the newest model of a provider that has a key]"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to save the images in.", callback=_local)] = Path(),
    n: Annotated[int, typer.Option("-n", help="How many images, 1 to 10.")] = 1,
    size: Annotated[str | None, typer.Option(help="Width and height in pixels, such as 1536x864.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="The ratio of width to height, such as 16:9.")] = None,
    image_size: Annotated[str | None, typer.Option(help="A named size: 512, 1K, 2K or 4K.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="A seed, for models that support one: it may make an image repeatable; each further image gets the "
            "next number."
        ),
    ] = None,
    ref: Annotated[
        list[Path] | None,
        typer.Option(help="A reference image. Repeat the option for more.", callback=_local),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="The image to edit.", callback=_local)] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="The mask for --init: transparent areas are changed, or white areas if the mask has no alpha channel.",
            callback=_local,
        ),
    ] = None,
    mask_color: Annotated[
        str,
        typer.Option(
            metavar="<colour>",
            help="The colour in the mask that marks the area to change: white; black, as in Invoke's masks; another "
            "name, such as red; or #rrggbb.",
        ),
    ] = "white",
    markup: Annotated[
        Path | None,
        typer.Option(
            help="A transparent PNG as large as --init, with drawings that say what to do, for models that support "
            "markup. Not together with --mask.",
            callback=_local,
        ),
    ] = None,
    flags: OptionFlags = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            "-o",
            metavar="<name=value>",
            help="Any option of the model, as 'models show' lists them. Repeat it for more.",
            autocompletion=complete_option,
        ),
    ] = None,
    metadata: Annotated[
        MetadataChoice | None,
        typer.Option(
            help="Where to save the metadata that says how an image was made: embed, in its file; sidecar, in "
            "NAME.EXT.json beside it; none, nowhere; auto, in the file unless it carries Content Credentials. "
            " [default: metadata in invokeai_external.yaml, or auto]"
        ),
    ] = None,
    previews: Annotated[
        Path | None,
        typer.Option(
            help="Save previews of the unfinished image in this folder. They may cost a little.", callback=_local
        ),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Make the images with the built-in sandbox: no key, no network, no cost.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent and an estimate of the cost; send nothing.")
    ] = False,
    json: Json = False,
    root: Root = None,
) -> int:
    """Make images from a prompt and from other images.

    Prints the paths of the images, one per line.
    """
    return lazy.generate.run(
        lazy.generate.Arguments(
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
            markup=markup,
            flags=flags or {},
            options=tuple(option or ()),
            previews=previews,
        ),
        root=root,
        sandbox=sandbox,
        dry_run=dry_run,
        as_json=json,
        metadata=metadata,
    )


@models_app.callback()
def models(
    context: typer.Context,
    provider: Annotated[
        str | None,
        typer.Option(
            metavar=f"<{_PROVIDERS}>",
            help="List the models of this provider only.",
            callback=_provider,
            autocompletion=_provider_ids,
        ),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="List retired models too.")] = False,
    json: Json = False,
    root: Root = None,
) -> None:
    """List the models, what they can do and what they cost."""
    if context.invoked_subcommand is None:
        lazy.models.run(provider=provider, with_retired=all, as_json=json, root=root)


@models_app.command("show")
def show_model(
    model: Annotated[str, typer.Argument(metavar="model", help="The model, as with generate --model.")],
    json: Json = False,
    root: Root = None,
) -> None:
    """Show everything that is known of one model."""
    lazy.model_page.run(model, as_json=json, root=root)


@models_app.command("check", short_help="Compare a provider's list of models with the catalogue; costs nothing.")
def check_models(
    provider: Annotated[str, _provider_argument("The provider to ask.")],
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Ask the built-in sandbox.")] = False,
    json: Json = False,
    root: Root = None,
) -> None:
    """Ask a provider for its list of models and compare it with the catalogue. Costs nothing.

    For new models, it prints the lines to add to invokeai_external.yaml.
    """
    lazy.models_check.run(provider, sandbox=sandbox, as_json=json, root=root)


@app.command()
def recall(
    picture: Annotated[
        Path, typer.Argument(metavar="image", help="An image made by this program or in Invoke.", callback=_local)
    ],
    json: Annotated[bool, typer.Option("--json", help="Print all of its metadata as JSON.")] = False,
) -> None:
    """Print the command that made an image."""
    lazy.recall.run(picture, as_json=json)


@app.command(short_help="Make five images with the sandbox, free of charge.")
def demo(
    out: Annotated[Path, typer.Option(help="The folder to save the images in.", callback=_local)] = Path(
        "demo-pictures"
    ),
    json: Json = False,
) -> int:
    """Make five images with the sandbox, which imitates both providers: no key, no account, no cost."""
    return lazy.demo.run(out, as_json=json)


@app.command(short_help="Imitate both providers' APIs on this machine.")
def sandbox(
    port: Annotated[
        int, typer.Option(metavar="<port>", min=0, max=65535, help="The port to listen on; 0 for any free port.")
    ] = 9393,
) -> None:
    """Imitate both providers' APIs on this machine, with images that cost nothing."""
    lazy.sandbox.run(port)


@app.command()
def install(root: InvokeRoot = None) -> None:
    """Install the plugin in an Invoke root."""
    lazy.install.run(root)


@app.command()
def doctor(root: InvokeRoot = None) -> int:
    """Show what is installed in an Invoke root, and what is wrong."""
    return lazy.doctor.run(root)


@app.command(short_help="List paid images that are not in Invoke's gallery.")
def undelivered(json: Json = False, root: InvokeRoot = None) -> None:
    """List the images in an Invoke root that were paid for and are not in Invoke's gallery."""
    lazy.undelivered.run(root, as_json=json)


@keys_app.command("set", short_help="Ask for a key and save it in api_keys.yaml.")
def keys_set(
    provider: Provider,
    root: Root = None,
) -> None:
    """Ask for a provider's key, or read it from standard input, and save it in api_keys.yaml."""
    lazy.keys.set_one(provider, root=root)


@keys_app.command("list", short_help="Show which providers have a key, and where it is.")
def keys_list(json: Json = False, root: Root = None) -> None:
    """Show which providers have a key and where it is. The keys themselves are never shown."""
    lazy.keys.list_all(as_json=json, root=root)


@keys_app.command("test", short_help="Check that a provider accepts the key; costs nothing.")
def keys_test(
    provider: Provider,
    json: Json = False,
    root: Root = None,
) -> None:
    """Check that a provider can be reached and accepts the key, by asking for its list of models. Costs nothing."""
    lazy.keys.test_one(provider, as_json=json, root=root)


@keys_app.command("remove")
def keys_remove(
    provider: Provider,
    root: Root = None,
) -> None:
    """Delete a provider's key from api_keys.yaml."""
    lazy.keys.remove_one(provider, root=root)
