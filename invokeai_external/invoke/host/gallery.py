"""The gallery: saves images, delivers images outside of runs, and checks who may see an image."""

from __future__ import annotations

import json
from collections.abc import Container
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import HTTPException
from invokeai.app.api.auth_dependencies import CurrentUserOrDefault
from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.api.routers._access import assert_image_read_access
from invokeai.app.invocations.fields import ImageField, MetadataField
from invokeai.app.invocations.image import BlankImageInvocation
from invokeai.app.invocations.primitives import ImageCollectionOutput
from invokeai.app.services.auth.token_service import TokenData
from invokeai.app.services.events.events_common import InvocationCompleteEvent
from invokeai.app.services.image_records.image_records_common import ImageCategory, ResourceOrigin
from invokeai.app.services.invocation_services import InvocationServices
from invokeai.app.services.shared.invocation_context import InvocationContext
from PIL import Image

from ..log import log

__all__ = [
    "MadeImage",
    "assert_may_read",
    "board_name",
    "deliver",
    "image_of_request",
    "metadata_of",
    "save_image",
    "user_name",
]

_RECENT = 100
"""How many of the newest images are searched for those of a failed save; other runs may save at the same time."""


def assert_may_read(image_name: str, user: CurrentUserOrDefault) -> None:
    """Raise Invoke's own HTTP error (403, 404) unless a user may see an image.

    The owner and administrators may, and everybody if the image is on a shared or public board.
    """
    assert_image_read_access(image_name, user)


def metadata_of(context: InvocationContext, image_name: str) -> dict[str, Any]:
    """The metadata of an image; empty for an image without metadata.

    Invoke 6.13.0 does not check who reads it, so this does.

    Args:
        context: The context of the node that reads it.
        image_name: The name of the image.

    Raises:
        PermissionError: The user of the node may not see the image.
        Exception: What Invoke raises if there is no such image.
    """
    services = context._services
    if services.configuration.multiuser:
        user = services.users.get(context._data.queue_item.user_id)
        if user is None:
            raise PermissionError
        try:
            assert_may_read(image_name, TokenData(user_id=user.user_id, email=user.email, is_admin=user.is_admin))
        except HTTPException as error:
            if error.status_code == HTTPStatus.FORBIDDEN:
                raise PermissionError from None
            raise
    found = context.images.get_metadata(image_name)
    return dict(found.root) if found else {}


@dataclass(frozen=True, slots=True)
class MadeImage:
    """An image of the gallery.

    Attributes:
        name: Its name.
        metadata: Its recall metadata.
    """

    name: str
    metadata: dict[str, Any]


def image_of_request(request_id: str, user: str, *, since: float, until: float) -> MadeImage | None:
    """The first image of a user that a request made; None if there is no such image any more.

    Args:
        request_id: The provider's id of the request.
        user: The id of the user.
        since: The image is not older than this, in seconds since the epoch: Invoke has an index by time.
        until: It is not newer than this.
    """
    services: InvocationServices = ApiDependencies.invoker.services
    first, last = (datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S") for time in (since, until))
    with services.session_queue._db.transaction() as cursor:  # type: ignore[attr-defined]
        cursor.execute(
            "SELECT image_name, metadata FROM images WHERE created_at BETWEEN ? AND ? AND user_id = ?"
            " AND instr(metadata, ?) ORDER BY created_at",
            (first, last, user, request_id),
        )
        rows = [tuple(row) for row in cursor.fetchall()]
    for name, text in rows:
        with suppress(ValueError):
            metadata = json.loads(text)
            if isinstance(metadata, dict) and metadata.get("external", {}).get("request_id") == request_id:
                return MadeImage(name, metadata)
    return None


def save_image(
    context: InvocationContext, image: Image.Image, metadata: dict[str, Any], *, before: Container[str]
) -> str:
    """Save an image in the gallery; returns its name.

    A failed save leaves a record and a partial file (6.13.0; 6.14.2 if the disk is too full to record that it must
    clean up). They are deleted here, which the public node API cannot do.

    Args:
        context: The context of the node.
        image: The image. It is changed: Invoke writes its own texts into it.
        metadata: Its recall metadata.
        before: The names of the images that the node has saved so far.

    Raises:
        Exception: What Invoke raises.
    """
    try:
        return str(context.images.save(image=image, metadata=MetadataField(root=metadata)).image_name)
    except Exception:
        _remove_unfinished(context._services, context._data.invocation.id, before)
        raise


def deliver(image: Image.Image, metadata: dict[str, Any], *, user: str, board: str | None) -> str:
    """Save an image in a user's gallery outside of any run, and show it on open pages; returns its name.

    No route does that: an upload encodes the file again, and sends no event. A page shows the output of any node,
    whatever its item is.

    Args:
        image: The image. It is changed: Invoke writes its own texts into it.
        metadata: Its recall metadata.
        user: The id of its owner.
        board: The id of the board. It is ignored if it does not exist or the user may not write to it.

    Raises:
        Exception: What Invoke raises.
    """
    services: InvocationServices = ApiDependencies.invoker.services
    node = str(uuid4())
    try:
        saved = services.images.create(
            image=image,
            image_origin=ResourceOrigin.INTERNAL,
            image_category=ImageCategory.GENERAL,
            node_id=node,
            board_id=board if board and _may_write(services, user, board) else None,
            is_intermediate=False,
            metadata=json.dumps(metadata),
            user_id=user,
        )
    except Exception:
        _remove_unfinished(services, node, ())
        raise
    name = str(saved.image_name)
    # Without the event the image is saved as well, and pages show it after a reload.
    with suppress(Exception):
        event = InvocationCompleteEvent(
            queue_id="default",
            item_id=0,
            batch_id=node,
            session_id=node,
            user_id=user,
            # A type that the page does not ignore.
            invocation=BlankImageInvocation(id=node),
            invocation_source_id=node,
            result=ImageCollectionOutput(collection=[ImageField(image_name=name)]),
        )
        services.events.dispatch(event)
    return name


def user_name(user: str) -> str | None:
    """The e-mail address by which a user signs in; None where there is only one user."""
    services = ApiDependencies.invoker.services
    if not services.configuration.multiuser:
        return None
    with suppress(Exception):
        if found := services.users.get(user):
            return str(found.email)
    return user


def board_name(board: str | None) -> str | None:
    """The name of a board; None if it does not exist."""
    with suppress(Exception):
        if board:
            return str(ApiDependencies.invoker.services.board_records.get(board).board_name)
    return None


def _may_write(services: InvocationServices, user: str, board: str) -> bool:
    """True if a user may save images on a board, by the rules of a node's own save (6.14.2)."""
    with suppress(Exception):
        found = services.boards.get_dto(board)
        if not services.configuration.multiuser or found.user_id == user or found.board_visibility == "public":
            return True
        owner = services.users.get(user)
        return bool(owner and owner.is_admin)
    return False


def _remove_unfinished(services: InvocationServices, node: str, finished: Container[str]) -> None:
    """Delete the records of a node that are not among the finished ones, and their files."""
    try:
        records = services.image_records.get_many(limit=_RECENT, starred_first=False)
        for record in records.items:
            if record.node_id == node and record.image_name not in finished:
                # The files first: on a full disk, the database needs their space.
                for thumbnail in (False, True):
                    # The folder may be missing, or be a file.
                    with suppress(FileNotFoundError, NotADirectoryError):
                        Path(services.images.get_path(record.image_name, thumbnail)).unlink()
                services.image_records.delete(record.image_name)
    except Exception as error:
        log.error("invokeai_external could not delete the partial files of a failed save: %s", error)
