"""Running a model so that nothing of it, and nothing around it, is changed afterwards."""

from __future__ import annotations

import logging
import random
import sys
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from finetuner_torch.attention import unfused_attention

DEPTH = 6
"""How far from a module's attributes and hooks state is looked for."""

DESCEND = 2000
"""Containers longer than this are put back, but their elements are not looked into."""

LEAVES = (str, bytes, int, float, type(None), type, ModuleType, CodeType, logging.Logger)


class Snapshot:
    """State of a model and of what its hooks and ``forward`` can reach in Python.

    Holds the contents of attributes, containers, closures and globals, training
    flags and ``requires_grad``; with ``data`` also a copy of every tensor's data.
    """

    def __init__(self, model: nn.Module, *, data: bool) -> None:
        self.tensors: list[torch.Tensor] = []
        self._containers: list[tuple[Any, Any]] = []
        self._cells: list[tuple[Any, Any]] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: dict[int, Any] = {}
        self._modes = [(module, module.training) for module in model.modules()]
        for module in model.modules():
            self._visit(module, 0)
            for kind in type(module).__mro__:
                self._visit(vars(kind).get("forward"), 0)
        for tensor in (*model.parameters(), *model.buffers()):
            self._visit(tensor, 0)
        self._flags = [(tensor, tensor.requires_grad) for tensor in self.tensors]
        self._data = [t.detach().clone() for t in self.tensors] if data else []

    def restore(self) -> None:
        """Put everything back that is not as it was; what is as it was is not touched."""
        for container, contents in self._containers:
            _refill(container, contents)
        for cell, content in self._cells:
            cell.cell_contents = content
        for names, name, content in self._globals:
            names[name] = content
        for module, training in self._modes:
            if module.training != training:
                module.training = training
        for tensor, flag in self._flags:
            if tensor.requires_grad != flag:
                tensor.requires_grad_(flag)
        for tensor, data in zip(self.tensors, self._data, strict=False):
            _rewrite(tensor, data)

    def _visit(self, item: Any, depth: int) -> None:
        if isinstance(item, LEAVES) or id(item) in self._seen or depth > DEPTH:
            return
        self._seen[id(item)] = item
        if isinstance(item, torch.Tensor):
            self.tensors.append(item)
        elif isinstance(item, (dict, list, set, deque)):
            contents = _contents(item)
            self._containers.append((item, contents))
            self._visit_all(contents.values() if isinstance(contents, dict) else contents, depth)
        elif isinstance(item, (tuple, frozenset)):
            self._visit_all(item, depth)
        elif isinstance(item, (FunctionType, MethodType)):
            self._visit_function(item, depth)
        elif not isinstance(item, BuiltinFunctionType):
            inside = 0 if isinstance(item, nn.Module) else depth + 1
            self._visit(getattr(item, "__dict__", None), inside)

    def _visit_all(self, items: Iterable[Any], depth: int) -> None:
        children = list(items)
        for child in children if len(children) <= DESCEND else ():
            self._visit(child, depth + 1)

    def _visit_function(self, function: FunctionType | MethodType, depth: int) -> None:
        if isinstance(function, MethodType):
            self._visit(function.__self__, depth + 1)
            self._visit(function.__func__, depth)
            return
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            self._cells.append((cell, content))
            self._visit(content, depth + 1)
        for name in function.__code__.co_names:
            if name in function.__globals__:
                content = function.__globals__[name]
                self._globals.append((function.__globals__, name, content))
                if _is_state(content, function):
                    self._visit(content, depth + 1)


@contextmanager
def untouched(model: nn.Module, *, data: bool) -> Iterator[Snapshot]:
    """Whatever happens inside: the model, random states and switches are put back after.

    ``data`` says whether the contents of tensors may change inside (a real run);
    they are then copied first.
    """
    with ExitStack() as stack:
        snapshot = Snapshot(model, data=data)
        stack.callback(snapshot.restore)
        stack.enter_context(_random_states())
        stack.enter_context(_caches(model))
        stack.enter_context(unfused_attention())
        stack.enter_context(_eager())
        stack.enter_context(_quiet())
        yield snapshot


@contextmanager
def _random_states() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def _caches(model: nn.Module) -> Iterator[None]:
    """Empty the ``functools`` caches beside the model's classes that filled up inside."""
    sources = {type(m).__module__: vars(type(m)) for m in model.modules()}
    spaces = [*sources.values(), *(vars(sys.modules[n]) for n in sources if n in sys.modules)]
    caches = {id(f): f for space in spaces for f in space.values() if _is_cache(f)}
    sizes = {key: function.cache_info().currsize for key, function in caches.items()}
    try:
        yield
    finally:
        for key, function in caches.items():
            if function.cache_info().currsize != sizes[key]:
                function.cache_clear()


def _is_cache(item: Any) -> bool:
    return type(item).__name__ == "_lru_cache_wrapper"


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled parts run uncompiled; where nothing was compiled the compiler stays unloaded."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log of fake tensors: what fails is raised, the rest comes up again."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


def _is_state(item: Any, function: FunctionType) -> bool:
    """Whether a global of ``function`` is the author's own data, not a library's machinery."""
    plain = (dict, list, set, deque, torch.Tensor, nn.Module)
    return isinstance(item, plain) or type(item).__module__ == function.__module__


def _contents(container: Any) -> Any:
    """What a container holds, past whatever a subclass does when it is read."""
    base = _base(container)
    if issubclass(base, dict):
        return dict(list(base.items(container)))
    return set(base.__iter__(container)) if base is set else list(base.__iter__(container))


def _refill(container: Any, contents: Any) -> None:
    """Give a container its contents back, past whatever guards a subclass puts up."""
    if _same(_contents(container), contents):
        return
    base = _base(container)
    base.clear(container)
    if issubclass(base, dict):
        for key, value in contents.items():
            base.__setitem__(container, key, value)
    else:
        (set.update if base is set else base.extend)(container, contents)


def _base(container: Any) -> Any:
    return next(t for t in (OrderedDict, dict, list, set, deque) if isinstance(container, t))


def _same(contents: Any, others: Any) -> bool:
    """Whether two contents are the same objects in the same order."""
    if isinstance(contents, set) or len(contents) != len(others):
        return bool(contents == others)
    if isinstance(contents, dict):
        pairs = zip(contents.items(), others.items(), strict=True)
        return all(a is c and b is d for (a, b), (c, d) in pairs)
    return all(a is b for a, b in zip(contents, others, strict=True))


def _rewrite(tensor: torch.Tensor, data: torch.Tensor) -> None:
    if tensor.shape != data.shape:
        tensor.data = data
    elif not torch.equal(tensor.detach(), data):
        with torch.no_grad():
            tensor.detach().copy_(data)
