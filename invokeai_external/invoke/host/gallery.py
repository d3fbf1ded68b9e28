"""The gallery: images saved, delivered, and read by those who may."""

from __future__ import annotations

import json
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from invokeai.app.api.auth_dependencies import CurrentUserOrDefault
from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.api.routers._access import assert_image_read_access
from invokeai.app.invocations.fields import ImageField, MetadataField
from invokeai.app.invocations.image import BlankImageInvocation
from invokeai.app.invocations.primitives import ImageCollectionOutput
from invokeai.app.services.events.events_common import InvocationCompleteEvent
from invokeai.app.services.image_records.image_records_common import ImageCategory, ResourceOrigin
from invokeai.app.services.invocation_services import InvocationServices
from invokeai.app.services.shared.invocation_context import InvocationContext
from PIL import Image

from ..log import log

__all__ = ["assert_may_read", "deliver", "save_image"]

_RECENT = 100
"""How many of the newest images are looked through for what a failed save left; other runs may save meanwhile."""


def assert_may_read(image_name: str, user: CurrentUserOrDefault) -> None:
    """Raise Invoke's own answer (403, 404) unless a user may see an image: its owner, an administrator, or, where the
    image is on a board that is shared or public, anybody. It has no name that is meant for others."""
    assert_image_read_access(image_name, user)


def save_image(
    context: InvocationContext, picture: Image.Image, metadata: dict[str, Any], *, before: Container[str]
) -> str:
    """Put a picture into the gallery; gives its name there.

    A save that failed leaves a record and a part of a file (6.13.0; 6.14.2 if the disk is too full to note that it must
    clean up). They are taken out here; no node context can.

    Args:
        context: The run's.
        picture: Is changed by this: Invoke writes its own texts into it.
        metadata: What recalls the picture.
        before: The names of the pictures that the node has saved so far.

    Raises:
        Exception: Whatever Invoke raises.
    """
    try:
        return str(context.images.save(image=picture, metadata=MetadataField(root=metadata)).image_name)
    except Exception:
        _remove_unfinished(context._services, context._data.invocation.id, before)
        raise


def deliver(picture: Image.Image, metadata: dict[str, Any], *, user: str, board: str | None) -> str:
    """Put a picture into the gallery of a user outside of any run, and show it on open pages; gives its name.

    No route and no node context does that: an upload encodes the file anew, and neither it nor the image service
    announces an image. A page takes up what a node has put out, whichever item that was.

    Args:
        picture: Is changed by this: Invoke writes its own texts into it.
        metadata: What recalls the picture.
        user: The id of its owner.
        board: The id of the board; one that the user may not write to, or that is gone, is passed over.

    Raises:
        Exception: Whatever Invoke raises.
    """
    services: InvocationServices = ApiDependencies.invoker.services
    node = str(uuid4())
    try:
        image = services.images.create(
            image=picture,
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
    name = str(image.image_name)
    # It is there whether pages hear of it or not; one that does not shows it when it is loaded again.
    with suppress(Exception):
        event = InvocationCompleteEvent(
            queue_id="default",
            item_id=0,
            batch_id=node,
            session_id=node,
            user_id=user,
            # Of a type that the page does not pass over.
            invocation=BlankImageInvocation(id=node),
            invocation_source_id=node,
            result=ImageCollectionOutput(collection=[ImageField(image_name=name)]),
        )
        services.events.dispatch(event)
    return name


def _may_write(services: InvocationServices, user: str, board: str) -> bool:
    """True if a user may put images on a board, as a node's own save decides it (6.14.2)."""
    with suppress(Exception):
        found = services.boards.get_dto(board)
        if not services.configuration.multiuser or found.user_id == user or found.board_visibility == "public":
            return True
        owner = services.users.get(user)
        return bool(owner and owner.is_admin)
    return False


def _remove_unfinished(services: InvocationServices, node: str, finished: Container[str]) -> None:
    """Take out the records of a node that are not among the finished ones, and their files."""
    try:
        records = services.image_records.get_many(limit=_RECENT, starred_first=False)
        for record in records.items:
            if record.node_id == node and record.image_name not in finished:
                # The files first: on a full disk they make the room that the database needs.
                for thumbnail in (False, True):
                    # The folder may be what is missing, or be no folder.
                    with suppress(FileNotFoundError, NotADirectoryError):
                        Path(services.images.get_path(record.image_name, thumbnail)).unlink()
                services.image_records.delete(record.image_name)
    except Exception as error:
        log.error("invokeai_external could not remove what a failed save left in the gallery: %s", error)
