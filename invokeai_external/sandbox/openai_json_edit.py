"""Reads the JSON form of an edit, in which images are data URLs, into the fields and files of the multipart form.

Only this form has ``moderation`` (the types of the official SDK and OpenAI's own description of the API).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from .errors import Refusal, openai_error
from .openai_errors import missing_parameter, wrong_type
from .openai_form import Upload

__all__ = ["read_json_edit"]

_MOST_IMAGES = 16
_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+);base64,", re.IGNORECASE)


def read_json_edit(body: Mapping[str, object]) -> tuple[dict[str, object], list[Upload]]:
    """The fields and the files of a JSON body; raises Refusal."""
    fields = {name: value for name, value in body.items() if name not in ("images", "mask") and value is not None}
    for name in ("image", "markup"):
        if name in fields:
            raise openai_error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    images = body.get("images")
    if images is None:
        raise missing_parameter("images")
    if not isinstance(images, list):
        raise wrong_type("images", "an array of objects", images)
    if not 1 <= len(images) <= _MOST_IMAGES:
        kind, limit = ("above_max", f"maximum length {_MOST_IMAGES}") if images else ("below_min", "minimum length 1")
        raise openai_error(
            400,
            f"Invalid 'images': array too {'long' if images else 'short'}. Expected an array with {limit}, but got an "
            f"array with length {len(images)} instead.",
            param="images",
            code=f"array_{kind}_length",
        )
    uploads = [_upload("image[]", image, f"images[{place}]") for place, image in enumerate(images)]
    if body.get("mask") is not None:
        uploads.append(_upload("mask", body["mask"], "mask"))
    return fields, uploads


def _upload(field: str, value: object, name: str) -> Upload:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    for key in value:
        if key not in ("image_url", "file_id"):
            raise openai_error(
                400, f"Unknown parameter: '{name}.{key}'.", param=f"{name}.{key}", code="unknown_parameter"
            )
    url, file_id = value.get("image_url"), value.get("file_id")
    if (url is None) == (file_id is None):
        what = "Exactly one of 'image_url' and 'file_id' must be given."
        raise openai_error(400, f"Invalid '{name}': {what}", param=name, code="invalid_value")
    if file_id is not None:
        raise openai_error(404, f"No such File object: {file_id}", param=f"{name}.file_id", code="file_not_found")
    if not isinstance(url, str):
        raise wrong_type(f"{name}.image_url", "a string", url)
    found = _DATA_URL.match(url)
    if found is None:
        # The service would download it; the sandbox connects to nothing.
        raise _invalid(name, "the sandbox reads only data URLs")
    try:
        data = base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(name, "it is not valid base64") from None
    return Upload(field, f"{field.removesuffix('[]')}.bin", found[1].lower(), data)


def _invalid(name: str, why: str) -> Refusal:
    return openai_error(400, f"Invalid '{name}.image_url': {why}.", param=f"{name}.image_url", code="invalid_image_url")
