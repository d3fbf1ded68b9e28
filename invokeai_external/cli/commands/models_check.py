"""``models check``: compares a provider's own list of models with the catalogue."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ...providers.listing import ListingCheck
from ...providers.registry import Registry
from ...root_folder import USER_FILE
from ...service.service import Service
from ...settings.settings import Settings
from ...untrusted_text import printable
from .. import event_loop, report
from ..common import named_provider, settings

__all__ = ["run"]


def run(provider: str, *, sandbox: bool, as_json: bool, root: Path | None) -> None:
    """Ask the provider for its list, and print what differs, with lines to paste for new models."""
    current = settings(root)
    registry = Registry(current.catalog)
    info = named_provider(provider, current.providers)
    report.notices(current.notices)
    check = event_loop.run(_check, current, provider, sandbox)
    # Of models that a provider lists itself, everything is known that can be used.
    lines = None if info.discover_models else _lines_to_paste(provider, check, registry)
    if as_json:
        report.print_json({"provider": provider, **asdict(check), "yaml": lines})
        return
    for line in _report(info.name, check):
        report.show(line)
    if lines:
        report.show(f"\nTo name the new ones and their prices, add this to {current.root / USER_FILE}:\n", indent=0)
        # To be pasted, so no line is broken.
        print(printable(lines), end="")


async def _check(current: Settings, provider: str, sandbox: bool) -> ListingCheck:
    async with Service(current, sandbox=sandbox) as service:
        return await service.check_models(provider)


def _report(name: str, check: ListingCheck) -> list[str]:
    available = len(check.listed) + len(check.only_in_catalogue)
    lines = [f"{name} lists {len(check.listed)} of {available} available models of the catalogue."]
    for heading, ids in (
        ("New, and not in the catalogue", check.new),
        ("No longer listed, as the catalogue expects", check.gone),
        ("In the catalogue, but not listed", check.only_in_catalogue),
        ("Retired in the catalogue, but still listed", check.still_listed),
    ):
        if ids:
            lines.append(f"{heading}: {', '.join(ids)}")
    if check.only_in_catalogue:
        lines.append("A list can be days behind, so a model that is not listed may still work.")
    return lines


def _lines_to_paste(provider: str, check: ListingCheck, registry: Registry) -> str | None:
    """The new models as a ``models:`` section to paste; None if nothing is new."""
    if not check.new:
        return None
    lines = ["models:"]
    for model_id in check.new:
        like = registry.similar_to(provider, model_id)
        lines += [
            f"  {provider}/{model_id}:",
            f"    name: {model_id}",
            f"    extends: {like.reference}",
            "    # Unknown, until you write USD per million tokens from the provider's price list:",
            "    # {text_in: 0, image_in: 0, image_out: 0}",
            "    prices: null",
        ]
    return "\n".join(lines) + "\n"
