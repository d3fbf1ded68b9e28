"""A running Invoke has every name that the plugin uses; a failure lists the missing names and who needs them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from .conftest import NewInvoke
from .contract import PUBLIC_MODULES, Reader, Use, distinct
from .invoke import NODE_TYPES, PROVIDERS, Invoke
from .packing import REPOSITORY

PACKAGE = REPOSITORY / "invokeai_external" / "invoke"
HOST = sorted(PACKAGE.glob("host/*.py"))
OTHERS = sorted(set(PACKAGE.rglob("*.py")) - set(HOST))

_IMAGES = "invokeai.app.services.image_records.image_records_common:ImageRecord"
_EVENTS = "invokeai.app.services.events.events_common"
_EVENT = f"{_EVENTS}:ModelInstallCompleteEvent"
_STATUS_CHANGED = f"{_EVENTS}:QueueItemStatusChangedEvent"
_BOARD = "invokeai.app.services.boards.boards_common:BoardDTO"
_BATCH = f"{_EVENTS}:BatchEnqueuedEvent"
_CONFIG = "invokeai.app.services.config.config_default:InvokeAIAppConfig"
_NODE = "invokeai.app.invocations.baseinvocation:BaseInvocation"
_MODEL = "invokeai.backend.model_manager.configs.external_api:ExternalApiModelConfig"
_RUNNER = "invokeai.app.services.session_processor.session_processor_default:DefaultSessionRunner"

_USER = "invokeai.app.services.users.users_common:UserDTO"
_GRAPH = "invokeai.app.services.shared.graph"
_STATUS = "invokeai.app.services.session_processor.session_processor_common:SessionProcessorStatus"

# What host/ reads of things whose type its text does not show: what they are, or None for what is not Invoke's.
UNFOLLOWED: dict[str, tuple[str, tuple[str, ...]] | None] = {
    "ApiDependencies.invoker.services.session_processor.get_status().is_started": (_STATUS, ("is_started",)),
    "context.images.save(image=image, metadata=MetadataField(root=metadata)).image_name": (
        "invokeai.app.services.images.images_common:ImageDTO",
        ("image_name",),
    ),
    **{
        f"changed.{name}": (_STATUS_CHANGED, (name,))
        for name in ("batch_id", "destination", "origin", "queue_id", "status", "user_id")
    },
    "core.invoke_internal": (_NODE, ("invoke_internal",)),
    "edge.destination": (f"{_GRAPH}:Edge", ("destination",)),
    "edge.destination.field": (f"{_GRAPH}:EdgeConnection", ("field",)),
    "edge.destination.node_id": (f"{_GRAPH}:EdgeConnection", ("node_id",)),
    "edge.source": (f"{_GRAPH}:Edge", ("source",)),
    "edge.source.node_id": (f"{_GRAPH}:EdgeConnection", ("node_id",)),
    "event[1].batch_id": (_BATCH, ("batch_id",)),
    "event[1].config": (_EVENT, ("config",)),
    "event[1].enqueued": (_BATCH, ("enqueued",)),
    "found[0].UIConfig": (_NODE, ("UIConfig",)),
    "found[0].UIConfig.node_pack": ("invokeai.app.invocations.baseinvocation:UIConfigBase", ("node_pack",)),
    "found.board_visibility": (_BOARD, ("board_visibility",)),
    "found.root": ("invokeai.app.invocations.fields:MetadataField", ("root",)),
    "found.user_id": (_BOARD, ("user_id",)),
    "get_config().root_path": (_CONFIG, ("root_path",)),
    "saved.image_name": ("invokeai.app.services.images.images_common:ImageDTO", ("image_name",)),
    "node.get_type": (_NODE, ("get_type",)),
    "node.id": (_NODE, ("id",)),
    "node.invoke": (_NODE, ("invoke",)),
    "other.invoke_internal": (_NODE, ("invoke_internal",)),
    "owner.is_admin": (_USER, ("is_admin",)),
    "found.is_admin": (_USER, ("is_admin",)),
    "record.image_name": (_IMAGES, ("image_name",)),
    "record.key": (_MODEL, ("key",)),
    "record.node_id": (_IMAGES, ("node_id",)),
    "record.provider_id": (_MODEL, ("provider_id",)),
    "record.source": (_MODEL, ("source",)),
    "ApiDependencies.invoker.services.board_records.get(board).board_name": (
        "invokeai.app.services.board_records.board_records_common:BoardRecord",
        ("board_name",),
    ),
    "found.email": (_USER, ("email",)),
    **{f"user.{name}": (_USER, (name,)) for name in ("email", "is_active", "is_admin", "user_id")},
    "records.items": ("invokeai.app.services.shared.pagination:OffsetPaginatedResults", ("items",)),
    "status.message": (
        "invokeai.app.services.external_generation.external_generation_common:ExternalProviderStatus",
        ("message",),
    ),
    "services.session_processor.get_status().is_processing": (_STATUS, ("is_processing",)),
    **dict.fromkeys(("handlers.remove", "inputs.items", "rest.partition"), None),
    **dict.fromkeys(("changed.destination.startswith", "server.started"), None),
    **dict.fromkeys(
        ("error.status_code", "found.items", "name.removeprefix", "name.removeprefix('external_').rsplit"), None
    ),
    **dict.fromkeys(("message.startswith", "name.endswith", "named.get", "record.getMessage", "updates.items"), None),
    **dict.fromkeys(
        (
            "item.batch",
            "item.id",
            "item.id.number",
            "item.number",
            "item.origin",
            "item.queue",
            "item.user",
            "ours.prepare",
            "ours.use_cache",
        ),
        None,
    ),
    "provider.id": None,
    **dict.fromkeys(("metadata.get", "metadata.get('external', {}).get"), None),
    "str(getattr(config, 'base_url', None) or '').rstrip": None,
    **dict.fromkeys(("cursor.execute", "cursor.executemany", "cursor.fetchall"), None),
}

# What host/ names in a string, or takes as a keyword.
BY_NAME = [
    *(
        Use(_CONFIG, True, (f"external_{provider}_{what}",), None, "host.config")
        for provider in PROVIDERS
        for what in ("api_key", "base_url")
    ),
    Use(
        _RUNNER,
        False,
        ("_on_node_error",),
        (1, ("invocation", "queue_item", "error_type", "error_message", "error_traceback")),
        "host.nodes",
    ),
]


def read(path: Path) -> Reader:
    """The names of Invoke that a module of the plugin uses."""
    return Reader(path.read_text("utf-8"), ".".join(path.relative_to(PACKAGE).with_suffix("").parts))


def uses_of(modules: Sequence[Path]) -> list[Use]:
    """The names of Invoke that some modules use, each once."""
    return list(distinct([use for path in modules for use in read(path).uses]))


@pytest.fixture(scope="module")
def stock(new_invoke: NewInvoke) -> Invoke:
    """An Invoke without our plugin, so that nothing of it is replaced."""
    invoke = new_invoke(pack=False)
    invoke.start()
    return invoke


def missing_from(invoke: Invoke, uses: list[Use]) -> list[str]:
    """The names that a running Invoke lacks, one sentence each."""
    folder = invoke.root / "nodes" / "probe"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("probe.py"), folder / "__init__.py")
    (folder / "uses.json").write_text(json.dumps([use._asdict() for use in uses]), encoding="utf-8")
    invoke.send("POST", "/v2/custom_nodes/reload")
    found = folder / "missing.json"
    assert found.is_file(), invoke.log_text()[-4000:]
    return [
        f"{uses[number].dotted} {wrong}: {uses[number].where} needs it"
        for number, wrong in json.loads(found.read_text(encoding="utf-8"))
    ]


def test_every_name_that_the_plugin_uses_exists(stock: Invoke) -> None:
    followed = [Use(*known, None, "host") for known in map(_instance, UNFOLLOWED.values()) if known]
    assert missing_from(stock, [*uses_of([*HOST, *OTHERS]), *followed, *BY_NAME]) == []


def _instance(known: tuple[str, tuple[str, ...]] | None) -> tuple[str, bool, tuple[str, ...]] | None:
    return (known[0], True, known[1]) if known else None


def test_a_name_that_a_release_moved_is_reported(stock: Invoke) -> None:
    gone = Use("invokeai.app.api.routers.app_info:_apply_moved", False, (), None, "host.on_key_change")
    deep = Use("invokeai.app.api.dependencies:ApiDependencies", False, ("invoker", "services", "nothing"), None, "f")
    runs = "invokeai.app.services.shared.invocation_context:InvocationContext"
    called = Use(runs, True, ("images", "save"), (0, ("image", "title")), "host.save")
    found = missing_from(stock, [gone, deep, called])
    assert found[:2] == [
        "invokeai.app.api.routers.app_info._apply_moved is gone: host.on_key_change needs it",
        "invokeai.app.api.dependencies.ApiDependencies.invoker.services.nothing is gone: f needs it",
    ]
    assert "images.save is called in another way" in found[2]
    assert "title" in found[2]


def test_the_core_has_nodes_of_these_types(stock: Invoke) -> None:
    assert {stock.schema(node_type)["node_pack"] for node_type in NODE_TYPES.values()} == {"invokeai"}


def test_every_name_in_the_host_package_is_known() -> None:
    """A new use in host/ is followed from its import, or must be added to the table above."""
    assert set().union(*(read(path).unfollowed for path in HOST)) == set(UNFOLLOWED)


def test_the_reader_follows_names_and_types() -> None:
    source = """
from invokeai.a import b, C, registry
def f(x: C, y):
    z = b.c
    z.d(1, k=2)
    x.e.g()
    y.h
    for entry in registry:
        entry.i
class D(NamedTuple):
    field: C
    def m(self):
        self.field.j
"""
    reader = Reader(source, "m")
    called = {(use.dotted, use.instance, use.arguments, use.where) for use in reader.uses}
    assert called >= {
        ("invokeai.a.b", False, None, "m"),
        ("invokeai.a.b.c.d", False, (1, ("k",)), "m.f"),
        ("invokeai.a.C.e.g", True, (0, ()), "m.f"),
        ("invokeai.a.C.j", True, None, "m.D.m"),
    }
    assert reader.unfollowed == {"y.h", "entry.i"}


def test_only_the_host_package_uses_more_than_the_public_names() -> None:
    """The other modules do not use private names or services of Invoke."""
    private = [use for use in uses_of(OTHERS) if any(name.startswith("_") for name in use.chain)]
    assert [use.dotted for use in private] == []
    assert {use.root.partition(":")[0] for use in uses_of(OTHERS)} == PUBLIC_MODULES
    # From the modules of the registry and of the starter models, only the types.
    names = {use.root.partition(":")[2] for use in uses_of(OTHERS)}
    assert names.isdisjoint({"InvocationRegistry", "STARTER_MODELS"})
