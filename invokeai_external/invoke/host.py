"""The one seam: everything of Invoke that is not its public node API is touched here and nowhere else.

The other modules may import names of the node API and of data types, from the modules that the contract test lists;
every touch of a running service, a registry, a router or a private attribute is here.

Each function says why it is needed; all of it was seen in 6.13.0 and in 6.14.2 where nothing else is said. Those that
change Invoke are context managers that change it back, so that an uninstall leaves nothing behind. The contract test
(``tests/host/test_host_contract.py``) reads here what is used of Invoke, and looks for it in a running one; it follows
what hangs on an imported name or on an argument of an imported type.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from fastapi import APIRouter
from fastapi_events.handlers.local import local_handler
from invokeai.app import api_app
from invokeai.app.api.auth_dependencies import CurrentUserOrDefault
from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.api.routers import app_info
from invokeai.app.api.routers._access import assert_image_read_access
from invokeai.app.invocations.baseinvocation import BaseInvocation, InvocationRegistry
from invokeai.app.invocations.fields import ImageField, MetadataField
from invokeai.app.invocations.image import BlankImageInvocation
from invokeai.app.invocations.primitives import ImageCollectionOutput
from invokeai.app.services.config.config_default import InvokeAIAppConfig, get_config
from invokeai.app.services.events.events_common import (
    BatchEnqueuedEvent,
    InvocationCompleteEvent,
    ModelInstallCompleteEvent,
    QueueClearedEvent,
    QueueItemsRetriedEvent,
    QueueItemStatusChangedEvent,
    register_events,
)
from invokeai.app.services.image_records.image_records_common import ImageCategory, ResourceOrigin
from invokeai.app.services.invocation_services import InvocationServices
from invokeai.app.services.model_install.model_install_default import ModelInstallService
from invokeai.app.services.model_records.model_records_base import ModelRecordChanges, UnknownModelException
from invokeai.app.services.session_processor.session_processor_common import CanceledException
from invokeai.app.services.session_processor.session_processor_default import DefaultSessionRunner
from invokeai.app.services.session_queue.session_queue_common import (
    SessionQueueItem,
    SessionQueueItemNotFoundError,
)
from invokeai.app.services.session_queue.session_queue_sqlite import SqliteSessionQueue
from invokeai.app.services.shared.graph import Graph, GraphExecutionState, NodeInputError
from invokeai.app.services.shared.invocation_context import (
    InvocationContext,
    InvocationContextData,
    build_invocation_context,
)
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig
from invokeai.backend.model_manager.starter_models import STARTER_MODELS, StarterModel
from invokeai.backend.model_manager.taxonomy import BaseModelType, ModelType
from invokeai.backend.util.logging import InvokeAILogger
from PIL import Image
from uvicorn import Server

from ..settings.settings import Credentials, credentials_in_invoke
from .look_ahead.runs import Place
from .page.canvas_refresh import CanvasItem

__all__ = [
    "CanceledException",
    "NodeCache",
    "QueuedItem",
    "added_routes",
    "assert_may_read",
    "cache_of",
    "credentials",
    "delete_model",
    "deliver",
    "has_users",
    "install_model",
    "known_nodes",
    "log",
    "model_records",
    "node_pack_of",
    "on_batch",
    "on_canvas_item_ended",
    "on_items_read",
    "on_key_change",
    "on_model_deleted",
    "on_model_installed",
    "on_queue_change",
    "on_stop",
    "on_unregister",
    "place_of",
    "plain_failures",
    "queue_is_paused",
    "queue_item",
    "queued_items",
    "repair_queue",
    "replaced_nodes",
    "replaced_starter_models",
    "resting_queue",
    "root",
    "save",
    "services_exist",
    "started",
    "starter_models",
    "tell_canvas",
]

log = InvokeAILogger.get_logger("InvokeAI")

_CANVAS = "canvas"
"""What the destination of the Canvas' items begins with; a session's id follows."""

_ENDED = ("completed", "failed", "canceled")

_READ_AT_ONCE = 200
"""How many stored sessions are read at once; each has some kilobytes."""

_RECENT = 100
"""How many of the newest images are looked through for what a failed save left; other runs may save meanwhile."""


def root() -> Path:
    """Invoke's root folder, in which the settings files lie."""
    return Path(get_config().root_path)


def credentials(providers: Sequence[str]) -> dict[str, Credentials]:
    """The keys and addresses that Invoke holds now: its settings page changes the live object, not only the file.

    Invoke takes each from the environment or from its file, whatever the other is; they are paired here.
    """
    config: InvokeAIAppConfig = get_config()
    found = {}
    for provider in providers:
        key = getattr(config, f"external_{provider}_api_key", None)
        url = getattr(config, f"external_{provider}_base_url", None)
        found[provider] = credentials_in_invoke(provider, key, url, root(), os.environ)
    return found


def services_exist() -> bool:
    """False while Invoke starts: it loads packs before it makes its services. The node manager loads them after."""
    return getattr(ApiDependencies, "invoker", None) is not None


def assert_may_read(image_name: str, user: CurrentUserOrDefault) -> None:
    """Raise Invoke's own answer (403, 404) unless a user may see an image: its owner, an administrator, or, where the
    image is on a board that is shared or public, anybody. It has no name that is meant for others."""
    assert_image_read_access(image_name, user)


def model_records() -> list[ExternalApiModelConfig]:
    """All external models that are installed; no node context gives more than one by its key."""
    found = ApiDependencies.invoker.services.model_manager.store.search_by_attr(
        base_model=BaseModelType.External, model_type=ModelType.ExternalImageGenerator
    )
    return [record for record in found if isinstance(record, ExternalApiModelConfig)]


def install_model(source: str, changes: ModelRecordChanges) -> None:
    """Have Invoke's installer name a model, store it and tell every open page; again for one that is installed."""
    ApiDependencies.invoker.services.model_manager.install.heuristic_import(source, config=changes)


def delete_model(record: ExternalApiModelConfig) -> None:
    """Take a model out; one that is gone already is what was wanted, since Invoke removes them with the key as well."""
    with suppress(UnknownModelException):
        ApiDependencies.invoker.services.model_manager.install.delete(record.key)


class NodeCache(NamedTuple):
    """Invoke's cache of what nodes put out, and the key of one node in it."""

    services: InvocationServices
    key: str

    def get(self) -> object | None:
        """What the node put out before; None if it is not known, or the cache is switched off for now."""
        found: object | None = self.services.invocation_cache.get(self.key)
        return found

    def replace(self, output: Any) -> None:
        """Keep what the node put out; Invoke's own ``save`` keeps what is there already."""
        self.services.invocation_cache.delete(self.key)
        self.services.invocation_cache.save(self.key, output)


def cache_of(context: InvocationContext, services: InvocationServices, node: BaseInvocation) -> NodeCache | None:
    """The place of a node in the cache; None where Invoke's settings or the node switch it off.

    No node context gives it. Invoke's own keys are the same for all users; these are not, so that nobody gets what
    another user has paid for.
    """
    if services.configuration.node_cache_size == 0 or not node.use_cache:
        return None
    key = services.invocation_cache.create_key(node)
    return NodeCache(services, f"{context._data.queue_item.user_id} {key}")


def save(context: InvocationContext, picture: Image.Image, metadata: dict[str, Any], *, before: Container[str]) -> str:
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


def has_users() -> bool:
    """True if Invoke has several users, each with images of their own."""
    return bool(ApiDependencies.invoker.services.configuration.multiuser)


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


def place_of(context: InvocationContext) -> Place:
    """Where in the queue a node runs; no node context gives it."""
    item = context._data.queue_item
    return Place(item.item_id, context._data.source_invocation_id, item.user_id, item.batch_id)


def queue_is_paused() -> bool:
    """True while nothing new is taken from the queue."""
    return not ApiDependencies.invoker.services.session_processor.get_status().is_started


class QueuedItem(NamedTuple):
    """An item that has not ended.

    Attributes:
        number: Its number.
        batch: The id of its batch.
        status: Those that wait for their turn are ``pending``. What is ``waiting`` (6.14.2) was begun, and goes on when
            the workflow that it called has ended.
    """

    number: int
    batch: str
    status: Literal["in_progress", "pending", "waiting"]


def queued_items() -> list[QueuedItem]:
    """The items that have not ended: those that run, and behind them the others in their order.

    Invoke's own lists read the whole graph of each item, which takes a millisecond or two, and cannot tell the items of
    those that have ended without that.
    """
    services = ApiDependencies.invoker.services
    with services.session_queue._db.transaction() as cursor:
        cursor.execute(
            "SELECT item_id, batch_id, status, user_id FROM session_queue WHERE status IN"
            " ('in_progress', 'pending', 'waiting') ORDER BY status != 'in_progress', priority DESC, item_id ASC"
        )
        rows = [tuple(row) for row in cursor.fetchall()]
    if services.configuration.multiuser:
        # Invoke refuses the items of a user who was locked out when it comes to them.
        owners = {owner: services.users.get(owner) for *_, owner in rows}
        rows = [row for row in rows if (user := owners[row[3]]) and user.is_active]
    return [QueuedItem(number, batch, status) for number, batch, status, _ in rows]


def repair_queue(node_types: Sequence[str], repaired: Callable[[str], str | None], *, batch: str | None = None) -> int:
    """Replace what is stored of items, ended ones as well, where it is not what it should be.

    Invoke's own writer takes a session that was parsed, and cannot be given one that no class of its own parses.

    Args:
        node_types: Only items with a node of such a type are looked at.
        repaired: Given the text of a stored session; gives the text to store in its place, or None to leave it.
        batch: Only the items of this batch.

    Returns:
        How many were changed: all of them, or none where the database fails.
    """
    queue = ApiDependencies.invoker.services.session_queue
    # A batch has an index; with one query for both cases each enqueueing would read through the whole history.
    wanted, of = ("item_id > ? AND batch_id = ?", (batch,)) if batch else ("item_id > ?", ())
    query = f"SELECT item_id, session FROM session_queue WHERE {wanted} ORDER BY item_id LIMIT {_READ_AT_ONCE}"
    changes, last = [], -1
    # Read in parts, so that Invoke's page need not wait for the whole of a long history.
    while True:
        with queue._db.transaction() as cursor:
            cursor.execute(query, (last, *of))
            rows = [tuple(row) for row in cursor.fetchall()]
        ours = [row for row in rows if any(node_type in row[1] for node_type in node_types)]
        changes += [(new, number, old) for number, old in ours if (new := repaired(old))]
        if len(rows) < _READ_AT_ONCE:
            break
        last = rows[-1][0]
    if changes:
        with queue._db.transaction() as cursor:
            # What was stored anew meanwhile, by a run that has ended, is right.
            cursor.executemany("UPDATE session_queue SET session = ? WHERE item_id = ? AND session = ?", changes)
    return len(changes)


def queue_item(number: int) -> SessionQueueItem | None:
    """A queue item with its graph; None if it is gone."""
    with suppress(SessionQueueItemNotFoundError):
        return ApiDependencies.invoker.services.session_queue.get_queue_item(number)
    return None


def known_nodes(
    item: SessionQueueItem, wanted: type[BaseInvocation], carriers: Container[str]
) -> Iterator[tuple[InvocationContext, BaseInvocation]]:
    """The nodes of an item that will run and whose inputs are known, each with its inputs and its context.

    None of an item that was begun and goes on later: what of it has run already is not certain.

    The item's graph is run by Invoke's own scheduler, without its executor: nodes that only carry values are run for
    real, all others never end, so that nothing behind them is ever ready.

    Args:
        item: The item; is not changed.
        wanted: The class of the nodes to find.
        carriers: The types of the nodes that only carry values.
    """
    if item.session.executed:
        return
    services = ApiDependencies.invoker.services
    state: GraphExecutionState = GraphExecutionState(graph=item.session.graph)
    uncertain, unordered = _before_a_choice(state.graph), _unordered(state.graph)
    with suppress(NodeInputError):
        while node := state.next():
            source = state.prepared_source_mapping[node.id]
            if source in unordered:
                continue
            data = InvocationContextData(queue_item=item, invocation=node, source_invocation_id=source)
            context = build_invocation_context(services, data, lambda: False)
            if node.get_type() in carriers:
                try:
                    state.complete(node.id, node.invoke(context))
                except Exception:
                    # It fails again when it is its turn, and the item with it: what comes behind never runs.
                    return
            elif isinstance(node, wanted) and source not in uncertain:
                yield context, node


def _before_a_choice(graph: Graph) -> set[str]:
    """The nodes on the way to an *if*, which Invoke may skip: it picks the branch late."""
    found = {name for name, node in graph.nodes.items() if node.get_type() == "if"}
    while before := {edge.source.node_id for edge in graph.edges if edge.destination.node_id in found} - found:
        found |= before
    return found


def _unordered(graph: Graph) -> set[str]:
    """The nodes that *collect* from several others: in which order is decided by ids that each run draws anew."""
    inputs = Counter((edge.destination.node_id, edge.destination.field) for edge in graph.edges)
    return {name for (name, _), count in inputs.items() if count > 1}


@contextmanager
def plain_failures(expected: type[Exception]) -> Iterator[None]:
    """Keep the tracebacks of errors that are made for people out of the log, the queue item and the events.

    Invoke takes the traceback of whatever a node raises, and a node cannot raise without one.
    """
    original = DefaultSessionRunner._on_node_error

    def on_node_error(runner: DefaultSessionRunner, *arguments: Any, **named: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, expected) and "error_traceback" in named:
            # The log and the page's queue tab show this in place of the message, so it cannot be empty.
            named["error_traceback"] = str(error)
        original(runner, *arguments, **named)

    DefaultSessionRunner._on_node_error = on_node_error
    try:
        yield
    finally:
        DefaultSessionRunner._on_node_error = original


def node_pack_of(node_type: str) -> str | None:
    """The pack that a node type comes from now: ``invokeai`` for the core."""
    found = _registered([node_type])
    return str(found[0].UIConfig.node_pack) if found else None


@contextmanager
def replaced_nodes(node_types: Sequence[str], load: Callable[[], Sequence[type[BaseInvocation]]]) -> Iterator[None]:
    """Register our classes in place of the core's of these types, and the core's again at the end.

    Registering over a core node is the supported way to replace it; unregistering alone leaves a hole.

    Args:
        node_types: The types of the nodes.
        load: Gives our classes; may register them itself, as the first import of their module does.
    """
    core = _registered(node_types)
    try:
        _register(load())
        yield
    finally:
        _register(core)


def _registered(node_types: Sequence[str]) -> list[type[BaseInvocation]]:
    known = InvocationRegistry.get_invocations_map()
    return [known[name] for name in node_types if name in known]


def _register(nodes: Sequence[type[BaseInvocation]]) -> None:
    current = _registered([node.get_type() for node in nodes])
    for node in nodes:
        if node not in current:
            InvocationRegistry.register_invocation(node)


def starter_models(providers: Sequence[str]) -> list[StarterModel]:
    """The entries of these providers in the list of starter models."""
    return [entry for entry in STARTER_MODELS if _provider_of(entry) in providers]


@contextmanager
def replaced_starter_models(providers: Sequence[str], ours: Sequence[StarterModel]) -> Iterator[None]:
    """Put our entries into the list of starter models in place of these providers' own.

    The list is changed in place, since other modules hold it. Nothing of ours may stand in it while Invoke starts: its
    own sync would install models beside the database's clean-up, and can die of it.
    """
    theirs = starter_models(providers)
    _keep_starter_models(lambda entry: entry not in theirs)
    STARTER_MODELS.extend(ours)
    try:
        yield
    finally:
        _keep_starter_models(lambda entry: _provider_of(entry) not in providers)
        STARTER_MODELS.extend(theirs)


def _keep_starter_models(wanted: Callable[[StarterModel], bool]) -> None:
    STARTER_MODELS[:] = [entry for entry in STARTER_MODELS if wanted(entry)]


def _provider_of(entry: StarterModel) -> str | None:
    scheme, _, rest = entry.source.partition("://")
    return str(rest.partition("/")[0]) if scheme == "external" else None


@contextmanager
def started(callback: Callable[[], None]) -> Iterator[None]:
    """Call back in a thread once Invoke has started and answers; never if its start fails.

    Packs load before any service exists, and there is no event for it. The start of its web server returns when the
    application's own is over, which makes the services and cleans up the database, and the socket is open.
    """
    original = Server.startup

    async def startup(server: Any, *arguments: Any, **named: Any) -> None:
        await original(server, *arguments, **named)
        if server.started:
            asyncio.get_running_loop().run_in_executor(None, callback)

    Server.startup = startup  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Server.startup = original  # type: ignore[method-assign]


@contextmanager
def resting_queue() -> Iterator[None]:
    """Nothing is taken from the queue.

    What an earlier Invoke left in its queue begins while the next one starts, beside the clean-up of its database. That
    can die of it, and Invoke with it: "cannot VACUUM - SQL statements in progress" (6.14.2). A run of ours, whose
    picture may be there at once, makes it likelier than one that has to load a model.
    """
    original = SqliteSessionQueue.dequeue

    def dequeue(_: SqliteSessionQueue, **__: Any) -> None:
        return None

    SqliteSessionQueue.dequeue = dequeue
    try:
        yield
    finally:
        SqliteSessionQueue.dequeue = original


@contextmanager
def on_key_change(callback: Callable[[], None]) -> Iterator[None]:
    """Call back whenever a provider's key or address is changed over Invoke's own routes, which announce nothing."""
    original = app_info._apply_external_provider_update

    def apply(updates: dict[str, str | None]) -> None:
        original(updates)
        callback()

    app_info._apply_external_provider_update = apply
    try:
        yield
    finally:
        app_info._apply_external_provider_update = original


@contextmanager
def on_model_installed(callback: Callable[[], None]) -> Iterator[None]:
    """Call back in a thread whenever an external model was installed, by whomever: the page does it without details."""

    async def handle(event: tuple[str, ModelInstallCompleteEvent]) -> None:
        if isinstance(event[1].config, ExternalApiModelConfig):
            await asyncio.to_thread(callback)

    with _handled({ModelInstallCompleteEvent}, handle):
        yield


@contextmanager
def on_queue_change(callback: Callable[[], None]) -> Iterator[None]:
    """Call back whenever the queue has changed; must not take long.

    Not all is announced: 6.13.0 says nothing of pending items that are cancelled in bulk, and no version says anything
    of deleted ones.
    """

    async def handle(event: tuple[str, object]) -> None:
        # One of no items is that of ``tell_canvas``, or of a queue that was full.
        if not isinstance(event[1], BatchEnqueuedEvent) or event[1].enqueued:
            callback()

    with _handled({BatchEnqueuedEvent, QueueClearedEvent, QueueItemsRetriedEvent, QueueItemStatusChangedEvent}, handle):
        yield


@contextmanager
def on_canvas_item_ended(callback: Callable[[CanvasItem], None]) -> Iterator[None]:
    """Call back in Invoke's event loop after an item of the Canvas has ended, in whichever way."""

    async def handle(event: tuple[str, QueueItemStatusChangedEvent]) -> None:
        changed = event[1]
        if changed.status in _ENDED and changed.destination and changed.destination.startswith(_CANVAS):
            callback(
                CanvasItem(
                    queue=changed.queue_id,
                    batch=changed.batch_id,
                    origin=changed.origin,
                    destination=changed.destination,
                    user=str(changed.user_id),
                )
            )

    with _handled({QueueItemStatusChangedEvent}, handle):
        yield


@contextmanager
def on_batch(callback: Callable[[str], None]) -> Iterator[None]:
    """Call back in a thread with the id of each batch whose items were put into the queue."""

    async def handle(event: tuple[str, BatchEnqueuedEvent]) -> None:
        if event[1].enqueued:
            await asyncio.to_thread(callback, event[1].batch_id)

    with _handled({BatchEnqueuedEvent}, handle):
        yield


@contextmanager
def on_items_read(callback: Callable[[str | None], None]) -> Iterator[None]:
    """Call back with a destination when the list of its items begins to be read, in the thread that reads it.

    The page reads it over REST, which announces nothing. All items are the destination None.
    """
    original = SqliteSessionQueue.list_all_queue_items

    def list_all_queue_items(
        queue: SqliteSessionQueue, queue_id: str, destination: str | None = None
    ) -> list[SessionQueueItem]:
        callback(destination)
        found: list[SessionQueueItem] = original(queue, queue_id, destination)
        return found

    SqliteSessionQueue.list_all_queue_items = list_all_queue_items
    try:
        yield
    finally:
        SqliteSessionQueue.list_all_queue_items = original


def tell_canvas(item: CanvasItem) -> None:
    """Have the page of an item's user read its lists of the queue again, that of the Canvas' items among them.

    The event of a batch of no items has no other effect in the page, and in Invoke none.
    """
    ApiDependencies.invoker.services.events.dispatch(
        BatchEnqueuedEvent(
            queue_id=item.queue,
            batch_id=item.batch,
            enqueued=0,
            requested=0,
            priority=0,
            origin=item.origin,
            user_id=item.user,
        )
    )


@contextmanager
def _handled(events: set[type[Any]], handle: Callable[[Any], Awaitable[None]]) -> Iterator[None]:
    """Handle Invoke's events of these types."""
    # fastapi-events has no way to unregister a handler; looked at first, so that nothing is registered in vain.
    registry = local_handler._registry
    register_events(events, handle)
    try:
        yield
    finally:
        for handlers in registry.values():
            if handle in handlers:
                handlers.remove(handle)


@contextmanager
def on_stop(before: Callable[[], None], after: Callable[[], None]) -> Iterator[None]:
    """Call back before and after Invoke tells its services to stop: there is no event for it."""
    original = ApiDependencies.shutdown

    def shutdown() -> None:
        before()
        original()
        after()

    ApiDependencies.shutdown = staticmethod(shutdown)
    try:
        yield
    finally:
        ApiDependencies.shutdown = staticmethod(original)


@contextmanager
def on_model_deleted(callback: Callable[[str], None]) -> Iterator[None]:
    """Call back with the source of an external model after it was deleted, by whomever: there is no event for it."""
    original = ModelInstallService.delete

    def delete(service: ModelInstallService, key: str) -> None:
        sources = [record.source for record in model_records() if record.key == key]
        original(service, key)
        for source in sources:
            callback(source)

    ModelInstallService.delete = delete
    try:
        yield
    finally:
        ModelInstallService.delete = original


@contextmanager
def on_unregister(pack_name: str, callback: Callable[[], None]) -> Iterator[None]:
    """Call back after the node manager has unregistered a pack's nodes, which is all that it tells of an uninstall."""
    original = InvocationRegistry.unregister_pack

    def unregister_pack(name: str) -> list[str]:
        removed: list[str] = original(name)
        if name == pack_name:
            callback()
        return removed

    InvocationRegistry.unregister_pack = staticmethod(unregister_pack)
    try:
        yield
    finally:
        InvocationRegistry.unregister_pack = original


@contextmanager
def added_routes(router: APIRouter) -> Iterator[None]:
    """Add routes before the catch-all of Invoke's web page, and to the API page."""
    app = api_app.app
    before = list(app.router.routes)
    app.include_router(router, prefix="/api")
    ours = [route for route in app.router.routes if route not in before]
    app.router.routes[:] = [*ours, *before]
    app.openapi_schema = None
    try:
        yield
    finally:
        for route in ours:
            if route in app.router.routes:
                app.router.routes.remove(route)
        app.openapi_schema = None
