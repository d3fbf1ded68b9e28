"""The commands, their options and their help texts. It imports nothing slow, so that ``--help`` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..version import VERSION
from . import budget_app, data_app, lazy, spend_app
from .option_flags import OptionFlags, complete_option, with_option_flags
from .parameters import (
    PROVIDERS,
    InvokeRoot,
    Json,
    Provider,
    Root,
    amount_usd,
    local,
    model_ids,
    provider_argument,
    provider_id,
    provider_ids,
    short,
)

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
providers_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.add_typer(providers_app, name="providers")
app.add_typer(budget_app.app, name="budget")
app.add_typer(spend_app.app, name="spend")
app.add_typer(data_app.app, name="data")


MetadataChoice = Literal["auto", "embed", "sidecar", "none"]
"""``MetadataMode`` of ``request``, which loads too much for a help page; a test compares the two."""


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
        Path | None, typer.Option(help="Read the prompt from this text file.", callback=local)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="provider/model-id, a model id or an alias.  [default: default_model in invokeai_external.yaml, or "
            "the newest model of a provider that has a key]",
            autocompletion=model_ids,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder to save the images in.", callback=local)] = Path(),
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
        typer.Option(help="A reference image. Repeat the option for more.", callback=local),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="The image to edit.", callback=local)] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="The mask for --init: transparent areas are changed, or white areas if the mask has no alpha channel.",
            callback=local,
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
            callback=local,
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
            help="Save previews of the unfinished image in this folder. They may cost a little.", callback=local
        ),
    ] = None,
    tag: Annotated[
        str | None,
        typer.Option(
            metavar="<text>",
            callback=short,
            help="What the cost is filed under in the spending record, such as a client's name.  [default: tag in "
            "invokeai_external.yaml]",
        ),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="<usd>",
            help="The most that this run may cost, in USD. If it could cost more, nothing is sent.",
            callback=amount_usd,
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
        lazy.generate_arguments.Arguments(
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
        tag=tag,
        max_cost=max_cost,
    )


@models_app.callback()
def models(
    context: typer.Context,
    provider: Annotated[
        str | None,
        typer.Option(
            metavar=f"<{PROVIDERS}>",
            help="List the models of this provider only.",
            callback=provider_id,
            autocompletion=provider_ids,
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
    model: Annotated[
        str, typer.Argument(metavar="model", help="The model, as with generate --model.", autocompletion=model_ids)
    ],
    json: Json = False,
    root: Root = None,
) -> None:
    """Show everything that is known of one model."""
    lazy.model_page.run(model, as_json=json, root=root)


@models_app.command("check", short_help="Compare a provider's list of models with the catalogue; costs nothing.")
def check_models(
    provider: Annotated[str, provider_argument("The provider to ask.")],
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Ask the built-in sandbox.")] = False,
    json: Json = False,
    root: Root = None,
) -> None:
    """Ask a provider for its list of models and compare it with the catalogue. Costs nothing.

    For new models, it prints the lines to add to invokeai_external.yaml.
    """
    lazy.models_check.run(provider, sandbox=sandbox, as_json=json, root=root)


@providers_app.callback()
def providers(context: typer.Context, json: Json = False, root: Root = None) -> None:
    """List all providers: their base URLs, and which are ready."""
    if context.invoked_subcommand is None:
        lazy.providers.list_all(as_json=json, root=root)


@providers_app.command("add", short_help="Add a provider to invokeai_external.yaml, or complete one that is off.")
def add_provider(
    name: Annotated[
        str,
        typer.Argument(
            metavar="<name>",
            help="The id of a provider that is off, or a new one: lower case letters, digits and underscores.",
            callback=provider_id,
            autocompletion=provider_ids,
        ),
    ],
    base_url: Annotated[str | None, typer.Option(metavar="<url>", help="Its base URL.")] = None,
    adapter: Annotated[str | None, typer.Option(metavar="<format>", help="Its wire format.")] = None,
    shown_name: Annotated[str | None, typer.Option("--name", help="The name to show.")] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="<type>",
            help="How requests are authenticated: bearer or header:NAME, with a key; command:COMMAND, with a token "
            "that a command prints; google, with this machine's account with Google Cloud; 'none', with neither.",
        ),
    ] = None,
    way: Annotated[
        str | None, typer.Option(help="Which way to use a provider that has several, such as classic or express.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="<provider>", help="For a further server of a kind: start from the file of this provider."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<id[=name]>",
            help="A model that it has, by its id here; NAME is the server's name for it, such as that of your "
            "deployment. Repeat it for more.",
        ),
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the lines to add; write nothing.")] = False,
    root: Root = None,
) -> None:
    """Add a provider to invokeai_external.yaml, or complete one that is off.

    On a terminal, it asks for what is missing.
    """
    answers = lazy.providers_add.Answers(
        adapter=adapter, base_url=base_url, name=shown_name, auth=auth, way=way, like=like, models=tuple(model or ())
    )
    lazy.providers_add.add(name, answers, only_print=only_print, root=root)


@app.command()
def recall(
    picture: Annotated[
        Path, typer.Argument(metavar="image", help="An image made by this program or in Invoke.", callback=local)
    ],
    json: Annotated[bool, typer.Option("--json", help="Print all of its metadata as JSON.")] = False,
) -> None:
    """Print the command that made an image."""
    lazy.recall.run(picture, as_json=json)


@app.command(short_help="Copy images without prompt, cost and other metadata.")
def share(
    files: Annotated[list[Path], typer.Argument(metavar="<image>...", help="The images to copy.", callback=local)],
    out: Annotated[Path, typer.Option(help="The folder to save the copies in.", callback=local)],
) -> None:
    """Copy images without prompt, cost, names of input images and other metadata, to give them to others.

    Content Credentials stay valid. The copies have names without the prompt; their paths are printed, one per line.
    """
    lazy.share.run(files, out)


@app.command(short_help="Make five images with the sandbox, free of charge.")
def demo(
    out: Annotated[Path, typer.Option(help="The folder to save the images in.", callback=local)] = Path(
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


@keys_app.command("set", short_help="Ask for a key and save it.")
def keys_set(
    provider: Provider,
    root: Root = None,
) -> None:
    """Ask for a provider's key, or read it from standard input, and save it in a file of the root folder."""
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
    """Delete a provider's key from the file that holds it."""
    lazy.keys.remove_one(provider, root=root)
