"""Checks the options of a request against those of a model. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace

from ..errors import CapabilityError, InvalidRequestError, Remedy
from ..misspellings import or_nearest
from ..providers.schema import ChoiceOption, Mode, ModelConfig, NumberOption, Option, TextOption
from ..request import GenerationRequest, OptionValue
from ..result import Notice
from ..root_folder import USER_FILE
from ..untrusted_text import printable, quoted

__all__ = [
    *("KEPT_FORMATS", "accept_options", "check_default", "check_option_names", "kept_format", "only_sent_options"),
    "with_defaults",
]

_FIELDS = frozenset(field.name for field in fields(GenerationRequest)) - {"options"}
"""What a request has beside its options."""


def check_option_names(options: Iterable[str], known: Collection[str], model: ModelConfig) -> None:
    """Raise InvalidRequestError for an option that no model has; one that only other models have is a notice."""
    for name in options:
        if name in known:
            continue
        if name in _FIELDS:
            raise InvalidRequestError(
                f"The field {name} is not an option.",
                remedy=Remedy(
                    f"Give it to the request itself, as GenerationRequest({name}=...) or with a flag of generate.",
                    action="set_field",
                ),
            )
        raise InvalidRequestError(
            f"No model has an option {quoted(name)}.",
            remedy=f"{or_nearest(name, known)}{model.name} has these options: {', '.join(sorted(model.options))}.",
        )


KEPT_FORMATS = ("gif", "svg")
"""The output formats of files that are kept byte for byte. They are not streamed, composited or compressed."""


def kept_format(request: GenerationRequest, model: ModelConfig) -> str | None:
    """The format of ``KEPT_FORMATS`` that a request asks for, or that is the default for it, if the model has it."""
    option = model.options.get("output_format")
    options = {**request.options, **_fitting(request, _unset_defaults(request, model))}
    text = str(options.get("output_format", "")).strip().lower()
    return text if text in KEPT_FORMATS and isinstance(option, ChoiceOption) and text in option.values else None


def only_sent_options(
    request: GenerationRequest, model: ModelConfig, sent: Collection[str] | None
) -> tuple[GenerationRequest, list[Notice]]:
    """The request without the options of its model that the provider's API does not have, and notices of them.

    Args:
        request: The request.
        model: The model, which may be the user's own, with any options.
        sent: The options that the API has; None if every option is sent under its own name.
    """
    unsent = [name for name in request.options if sent is not None and name in model.options and name not in sent]
    notices = [
        Notice(
            "option_dropped",
            f"The API of {model.provider_name or model.provider} has no option {name.replace('_', ' ')}; "
            f"{quoted(request.options[name])} was not sent.",
        )
        for name in unsent
        if str(request.options[name]).strip()
    ]
    options = {name: value for name, value in request.options.items() if name not in unsent}
    return replace(request, options=options), notices


def with_defaults(request: GenerationRequest, model: ModelConfig, mode: Mode) -> GenerationRequest:
    """The request with the defaults of its model for the options that it does not set, as far as they apply to it.

    Raises:
        CapabilityError: A default of an option that the request does not set is not valid.
    """
    unset = _unset_defaults(request, model)
    for name, value in unset.items():
        check_default(model, name, value)
    added = {name: value for name, value in unset.items() if mode in model.options[name].modes}
    return replace(request, options={**request.options, **_fitting(request, added)})


def _unset_defaults(request: GenerationRequest, model: ModelConfig) -> dict[str, OptionValue]:
    """The defaults of the options that a request does not set."""
    given, options = request.options, model.options
    return {name: value for name, value in model.defaults.items() if _is_unset(given.get(name, ""), options.get(name))}


def _fitting(request: GenerationRequest, defaults: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """The defaults without those that would be refused or taken out beside the other parts of a request.

    If two defaults do not go together, the output format counts.
    """
    fitting = dict(defaults)
    output_format = _word(defaults, "output_format")
    is_opaque = _word(request.options, "background") == "transparent" and output_format not in _TRANSPARENT
    if output_format and (is_opaque or (request.mask and output_format in (*_COMPRESSIBLE, *KEPT_FORMATS))):
        del fitting["output_format"]
    output_format = _word({**request.options, **fitting}, "output_format") or "png"
    unfit = set()
    if output_format not in _TRANSPARENT and _word(defaults, "background") == "transparent":
        unfit.add("background")
    if output_format not in _COMPRESSIBLE or request.mask:
        unfit.add("output_compression")
    if output_format != "gif":
        unfit |= {"frame_count", "frame_duration_ms"}
    if request.markup:
        unfit.add("moderation")
    return {name: value for name, value in fitting.items() if name not in unfit}


def _word(options: Mapping[str, OptionValue], name: str) -> str:
    """The value of a choice in lower case; empty if it is left to the provider."""
    text = str(options.get(name, "")).strip().lower()
    return "" if text == "auto" else text


def check_default(model: ModelConfig, name: str, value: OptionValue) -> None:
    """Raise CapabilityError if a model cannot have a value as the default of an option."""
    option, label = model.options.get(name), name.replace("_", " ")
    where = f"models.{model.reference}.defaults in {USER_FILE}"
    if option is None:
        raise CapabilityError(
            f"{model.name} has no option {quoted(name)}, for which {USER_FILE} has a default.",
            remedy=f"{or_nearest(name, model.options)}Correct {where}.",
        )
    try:
        _value(model, label, option, value)
    except CapabilityError as error:
        raise CapabilityError(
            f"The default of the option {label} in {USER_FILE} is not valid: {error.message}",
            remedy=f"{error.hint} Correct {where}.",
        ) from None


def _is_unset(value: OptionValue, option: Option | None) -> bool:
    """True for a value that leaves an option to the provider: nothing, or ``auto`` unless it is a text."""
    text = str(value).strip().lower()
    return not text or (text == "auto" and not isinstance(option, TextOption))


def accept_options(
    request: GenerationRequest, model: ModelConfig, mode: Mode, *, experimental: bool = False
) -> tuple[dict[str, OptionValue], list[Notice]]:
    """The option values to send, and notices of those that are not sent or not stable.

    Empty values and ``auto`` are the provider's default and are not sent, as is a web search that is ``off``. A text is
    sent as it is written, also ``auto``.

    Raises:
        CapabilityError: The model does not support a value, or not together with the others.
    """
    accepted: dict[str, OptionValue] = {}
    notices: list[Notice] = []
    for name, value in request.options.items():
        text = str(value).strip().lower()
        label = name.replace("_", " ")
        option = model.options.get(name)
        if _is_unset(value, option) or (name, text) == ("web_search", "off"):
            continue
        if option is None:
            if (name, text) == ("background", "transparent"):
                raise CapabilityError(
                    f"{model.name} does not support a transparent background.",
                    remedy="Choose another model, or another background.",
                )
            what = f"{model.name} has no option {label}; {quoted(value)} was not sent."
            notices.append(Notice("option_dropped", what))
        elif mode not in option.modes:
            where = "with input images" if "txt2img" not in option.modes else "without input images"
            notices.append(
                Notice("option_dropped", f"{label.capitalize()} applies only {where}; {quoted(value)} was not sent.")
            )
        else:
            accepted[name] = _value(model, label, option, value)
            if not isinstance(option, ChoiceOption):
                continue
            if text in option.experimental and not experimental:
                raise CapabilityError(
                    f"The {label} {text} is experimental, and not every project at the provider may use it.",
                    remedy="To try it, set experimental: true in the settings of invokeai_external.yaml.",
                )
            if text in option.preview:
                notices.append(
                    Notice(
                        "preview",
                        f"{label.capitalize()} {text} is experimental on {model.name}: results may vary.",
                    )
                )
    output_format = str(accepted.get("output_format", "png"))
    if accepted.get("background") == "transparent" and output_format not in _TRANSPARENT:
        raise CapabilityError(
            f"{output_format.upper()} does not support transparency.",
            remedy="Choose the output format png or webp, or another background.",
        )
    return accepted, [*notices, *_dependent(request, model, accepted)]


def _dependent(request: GenerationRequest, model: ModelConfig, accepted: dict[str, OptionValue]) -> list[Notice]:
    """Take out the options that do not apply with the other parts of a request; returns notices of them."""
    notices = []
    output_format = accepted.get("output_format")
    if output_format in _COMPRESSIBLE and request.mask:
        # A lossy format would change pixels outside the mask, and its edit would be worse than a PNG.
        del accepted["output_format"]
        what = f"With a mask, the result is composited into your image as PNG; {output_format!r} was not sent."
        notices.append(Notice("option_dropped", what))
        output_format = None
    if "output_compression" in accepted and output_format not in _COMPRESSIBLE:
        value = accepted.pop("output_compression")
        what = f"Output compression applies only to the output formats jpeg and webp; {value} was not sent."
        notices.append(Notice("option_dropped", what))
    if output_format != "gif":
        for name in ("frame_count", "frame_duration_ms"):
            if name in accepted:
                label = name.replace("_", " ").capitalize()
                what = f"{label} applies only to the output format gif; {accepted.pop(name)} was not sent."
                notices.append(Notice("option_dropped", what))
    if output_format in KEPT_FORMATS and request.mask:
        raise CapabilityError(
            f"An edit with a mask cannot be a {str(output_format).upper()} file.",
            remedy="Remove the mask, or choose the output format png.",
        )
    if request.markup and "moderation" in accepted:
        # Of an edit, only the JSON form has moderation, and whether that form has markup is not known.
        value = accepted.pop("moderation")
        what = f"Moderation does not apply with markup; {quoted(value)} was not sent."
        notices.append(Notice("option_dropped", what))
    if "web_search" in accepted:
        usd = model.prices.web_search
        price = "" if usd is None else f", reportedly about ${usd:g} above a free allowance"
        biller = model.provider_name or model.provider
        what = f"{biller} bills each search query{price}; no estimate includes it."
        notices.append(Notice("search_billed", what))
    return notices


_COMPRESSIBLE = ("jpeg", "webp")
"""The output formats with a compression that can be set."""

_TRANSPARENT = ("png", "webp")
"""The output formats that can have a transparent background."""


def _value(model: ModelConfig, label: str, option: Option, value: OptionValue) -> OptionValue:
    """A value as it is sent; raises CapabilityError if the option does not have it."""
    if isinstance(option, NumberOption):
        return _number(model, label, option, value)
    if isinstance(option, TextOption):
        return _text(model, label, option, str(value))
    return _choice(model, label, option, str(value).strip().lower())


def _number(model: ModelConfig, label: str, option: NumberOption, value: OptionValue) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not option.minimum <= number <= option.maximum or (option.whole and not number.is_integer()):
        kind = "a whole number" if option.whole else "a number"
        raise CapabilityError(
            f"{quoted(value)} is not a valid value for the option {label} of {model.name}.",
            remedy=f"Choose {kind} from {option.minimum:g} to {option.maximum:g}.",
        )
    return int(number) if option.whole else number


def _text(model: ModelConfig, label: str, option: TextOption, text: str) -> str:
    if "\n" in text or "\t" in text or printable(text) != text:
        raise CapabilityError(
            f"The {label} contains a line break, or another character that does not show.",
            remedy=f"Write the {label} as one line of plain text in UTF-8.",
        )
    if len(text) > option.max_characters:
        raise CapabilityError(
            f"The {label} has {len(text):,} characters; {model.name} supports at most {option.max_characters:,}.",
            remedy=f"Shorten the {label}.",
        )
    return text


def _choice(model: ModelConfig, label: str, option: ChoiceOption, text: str) -> str:
    for value in option.values:
        if value.lower() == text:
            return value
    stable = [value for value in option.values if value not in option.experimental]
    raise CapabilityError(
        f"{quoted(text)} is not a valid value for the option {label} of {model.name}.",
        remedy=f"{or_nearest(text, option.values)}Choose one of: {', '.join(stable)}.",
    )
