"""Reads from the plugin's source which names of Invoke it uses, and which of them cannot be followed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

_OF_INVOKE = ("invokeai", "fastapi_events", "uvicorn")

PUBLIC_MODULES = {
    "invokeai.app.api.auth_dependencies",
    "invokeai.app.invocations.baseinvocation",
    "invokeai.app.invocations.fields",
    "invokeai.app.invocations.model",
    "invokeai.app.invocations.primitives",
    "invokeai.app.services.model_records.model_records_base",
    "invokeai.app.services.shared.invocation_context",
    "invokeai.backend.model_manager.configs.external_api",
    "invokeai.backend.model_manager.starter_models",
    "invokeai.backend.model_manager.taxonomy",
}
"""The modules of Invoke that files outside of ``invoke/host/`` may import: the public node API, and data types."""


class Use(NamedTuple):
    """A name of Invoke that the plugin uses.

    Attributes:
        root: The imported name: ``module:name``.
        instance: True if it is used on an object of that class and not on the name itself.
        chain: The attributes, in their order.
        arguments: The number of positional arguments and the names of the others; None if it is not called.
        where: The function that uses it.
    """

    root: str
    instance: bool
    chain: tuple[str, ...]
    arguments: tuple[int, tuple[str, ...]] | None
    where: str

    @property
    def dotted(self) -> str:
        """The whole name, for people."""
        return ".".join([self.root.replace(":", "."), *self.chain])


class _Known(NamedTuple):
    root: str
    instance: bool
    chain: tuple[str, ...] = ()


class Reader(ast.NodeVisitor):
    """Follows attributes from imported names, from arguments and fields of imported types, and from what is assigned.

    Attributes:
        uses: What was found.
        unfollowed: The attributes on something whose type is not known here, as ``expression.attribute``.
    """

    def __init__(self, source: str, module: str) -> None:
        self.uses: list[Use] = []
        self.unfollowed: set[str] = set()
        self._where = module
        self._known: dict[str, _Known | None] = {}
        self.visit(ast.parse(source))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            assert not alias.name.startswith(_OF_INVOKE), f"{alias.name}: what of it is used cannot be followed"
            self._known[(alias.asname or alias.name).partition(".")[0]] = None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            ours = node.level > 0 or not (node.module or "").startswith(_OF_INVOKE)
            known = None if ours else _Known(f"{node.module}:{alias.name}", False)
            self._known[alias.asname or alias.name] = known
            if known:
                self._note(known, None)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        before = self._known
        fields = [line for line in node.body if isinstance(line, ast.AnnAssign)]
        self._known = {**before, "self": None}
        for field in fields:
            if (known := self._type(field.annotation)) and isinstance(field.target, ast.Name):
                self._known[f"self.{field.target.id}"] = known
        self._inside(node.name, node)
        self._known = before

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        before = self._known
        self._known = dict(before)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            known = self._type(argument.annotation)
            if known or argument.arg in self._known:
                self._known[argument.arg] = known
        self._inside(node.name, node)
        self._known = before

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and (known := self._type(node.annotation)):
            self._known[node.target.id] = known

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        match node.targets:
            case [ast.Name(id=name)] if known := self._followed(node.value):
                self._known[name] = known

    def visit_Call(self, node: ast.Call) -> None:
        if known := self._followed(node.func):
            starred = any(isinstance(argument, ast.Starred) for argument in node.args)
            names = [keyword.arg for keyword in node.keywords]
            if not starred and None not in names:
                self._note(known, (len(node.args), tuple(str(name) for name in names)))
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if known := self._followed(node):
            self._note(known, None)
            return
        if not self._is_ours(node.value):
            self.unfollowed.add(ast.unparse(node))
        self.visit(node.value)

    def _inside(self, name: str, node: ast.AST) -> None:
        where, self._where = self._where, f"{self._where}.{name}"
        self.generic_visit(node)
        self._where = where

    def _note(self, known: _Known, arguments: tuple[int, tuple[str, ...]] | None) -> None:
        self.uses.append(Use(known.root, known.instance, known.chain, arguments, self._where))

    def _followed(self, node: ast.expr) -> _Known | None:
        """What an expression is, if it is a name that is known or hangs on one."""
        if (known := self._known.get(ast.unparse(node))) or not isinstance(node, ast.Attribute):
            return known
        base = self._followed(node.value)
        return base._replace(chain=(*base.chain, node.attr)) if base else None

    def _type(self, annotation: ast.expr | None) -> _Known | None:
        """An object of an imported class; ``X | None`` is one as well."""
        match annotation:
            case ast.BinOp(left=left, right=ast.Constant(value=None)):
                return self._type(left)
            case ast.Name(id=name) if known := self._known.get(name):
                return known._replace(instance=True)
        return None

    def _is_ours(self, node: ast.expr) -> bool:
        """True for what hangs on a name that was imported, and not from Invoke."""
        while isinstance(node, ast.Attribute | ast.Call):
            node = node.value if isinstance(node, ast.Attribute) else node.func
        return isinstance(node, ast.Name) and node.id in self._known and self._known[node.id] is None


def distinct(uses: list[Use]) -> Iterator[Use]:
    """Each use once, with the first function that has it."""
    seen = set()
    for use in uses:
        if use[:4] not in seen:
            seen.add(use[:4])
            yield use
