"""Parses a multipart form of OpenAI's image API: its text fields and its files."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from .call_log import describe_bytes

__all__ = ["Form", "Upload", "read_form"]

_MAX_PARTS = 64
"""The most files and the most fields of a form, well above the 16 images and a mask that a request may have."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a request.

    Attributes:
        field: The field that it is in.
        filename: Its name; empty if it is not stated.
        content_type: Its type as stated; None if it is not stated.
        data: Its bytes.
    """

    field: str
    filename: str
    content_type: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A form as it was read.

    Attributes:
        fields: The text fields by name.
        uploads: The files.
        error: What is wrong with the form itself; None if nothing is.
    """

    fields: dict[str, str]
    uploads: list[Upload]
    error: str | None = None

    def described(self) -> list[dict[str, object]]:
        """The form for the log of requests, with the length and the hash of each file in place of its bytes."""
        texts: list[dict[str, object]] = [{"name": name, "value": value} for name, value in self.fields.items()]
        return texts + [
            {
                "name": upload.field,
                "filename": upload.filename,
                "content_type": upload.content_type,
                **describe_bytes(upload.data),
            }
            for upload in self.uploads
        ]


async def read_form(request: Request) -> Form:
    """Read the form of a request as far as it can be read."""
    fields: dict[str, str] = {}
    uploads: list[Upload] = []
    try:
        async with request.form(max_files=_MAX_PARTS, max_fields=_MAX_PARTS) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    uploads.append(Upload(name, value.filename or "", value.content_type, await value.read()))
                else:
                    fields[name] = value
    except HTTPException as error:
        return Form(fields, uploads, str(error.detail))
    except ValueError as error:
        # Older versions of starlette let the parser's own errors through.
        return Form(fields, uploads, str(error))
    return Form(fields, uploads)
