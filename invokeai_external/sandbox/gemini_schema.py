"""The field names of a Gemini ``generateContent`` request, and how the API reads them.

The API reads JSON of protocol buffers: a name may be in camelCase or snake_case, and a name that is not in the schema
makes the whole request invalid. The names are those that the official SDK sends to the Gemini API (google-genai 3.4,
``models.py``: the functions that end in ``_to_mldev``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .errors import gemini_error, gemini_unknown_names

__all__ = ["read_names", "snake_case", "with_snake_case_names"]

_ANY = None
"""A value that is not checked."""

Schema = Mapping[str, object]

_BLOB: Schema = {"mimeType": _ANY, "data": _ANY, "displayName": _ANY}
_PART: Schema = {
    "text": _ANY,
    "inlineData": _BLOB,
    "fileData": {"mimeType": _ANY, "fileUri": _ANY, "displayName": _ANY},
    "thought": _ANY,
    "thoughtSignature": _ANY,
    "mediaResolution": _ANY,
    "videoMetadata": _ANY,
    "functionCall": _ANY,
    "functionResponse": _ANY,
    "executableCode": _ANY,
    "codeExecutionResult": _ANY,
    "toolCall": _ANY,
    "toolResponse": _ANY,
    "partMetadata": _ANY,
}
_CONTENT: Schema = {"role": _ANY, "parts": [_PART]}
_GENERATION_CONFIG: Schema = {
    "audioTranscriptionConfig": _ANY,
    "candidateCount": _ANY,
    "enableEnhancedCivicAnswers": _ANY,
    "frequencyPenalty": _ANY,
    "imageConfig": {"aspectRatio": _ANY, "imageSize": _ANY},
    "logprobs": _ANY,
    "maxOutputTokens": _ANY,
    "mediaResolution": _ANY,
    "presencePenalty": _ANY,
    "responseJsonSchema": _ANY,
    "responseLogprobs": _ANY,
    "responseMimeType": _ANY,
    "responseModalities": _ANY,
    "responseSchema": _ANY,
    "seed": _ANY,
    "speechConfig": _ANY,
    "stopSequences": _ANY,
    "temperature": _ANY,
    "thinkingConfig": {"includeThoughts": _ANY, "thinkingBudget": _ANY, "thinkingLevel": _ANY},
    "topK": _ANY,
    "topP": _ANY,
}
_CALL: Schema = {
    "model": _ANY,
    "contents": [_CONTENT],
    "systemInstruction": _CONTENT,
    "generationConfig": _GENERATION_CONFIG,
    "safetySettings": _ANY,
    "tools": _ANY,
    "toolConfig": _ANY,
    "cachedContent": _ANY,
    "labels": _ANY,
    "serviceTier": _ANY,
    "store": _ANY,
    "continuationToken": _ANY,
}


_CALL_V1: Schema = {
    **_CALL,
    "generationConfig": {name: value for name, value in _GENERATION_CONFIG.items() if name != "responseModalities"},
}
"""The API version v1 does not have the modalities (third party)."""


def read_names(body: object, version: str) -> dict[str, object]:
    """The body of a request with all names in camelCase; raises Refusal with every name unknown to the API version."""
    unknown: list[tuple[str, str]] = []
    call = _read(body, _CALL_V1 if version == "v1" else _CALL, "", unknown)
    if unknown:
        raise gemini_unknown_names(unknown)
    assert isinstance(call, dict)  # _read checks it
    return call


def _read(value: object, schema: object, path: str, unknown: list[tuple[str, str]]) -> object:
    if schema is _ANY or value is None:
        return value
    if isinstance(schema, list):
        # In JSON of protocol buffers, a message may replace a list of one.
        items = value if isinstance(value, list) else [value]
        return [_read(item, schema[0], f"{path}[{i}]", unknown) for i, item in enumerate(items)]
    if not isinstance(value, dict):
        where = f" at '{path}'" if path else ""
        raise gemini_error(400, f"Invalid value{where}: a message was expected.")
    assert isinstance(schema, Mapping)
    read: dict[str, object] = {}
    for name, below in value.items():
        camel = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), str(name))
        if camel in schema:
            place = f"{path}.{snake_case(camel)}" if path else snake_case(camel)
            read[camel] = _read(below, schema[camel], place, unknown)
        else:
            unknown.append((str(name), path))
    return read


def snake_case(name: str) -> str:
    """``imageConfig`` as ``image_config``."""
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)


def with_snake_case_names(value: object) -> object:
    """A JSON value with every name in snake_case, as from some gateways."""
    if isinstance(value, dict):
        return {snake_case(name): with_snake_case_names(below) for name, below in value.items()}
    if isinstance(value, list):
        return [with_snake_case_names(item) for item in value]
    return value
