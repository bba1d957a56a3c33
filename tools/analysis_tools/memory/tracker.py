# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Follows the memory of all tensors, operation by operation."""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PARAMETERS, STATES = 'parameters', 'optimizer states'
GRADIENTS, CASTS = 'gradients', 'cast weights'
OTHERS = 'activations and temporary tensors'
KINDS = (PARAMETERS, STATES, GRADIENTS, CASTS, OTHERS)
INDEXING = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
)
CAST = torch.ops.aten._to_copy.default


class MemoryTracker(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, and their peaks.

    A storage counts from the operation that makes it until it dies, once for
    all tensors that share it (as torch's own
    `torch.distributed._tools.mem_tracker`). What an operation needs inside
    of itself is not seen.

    Attributes:
        live: Bytes by kind, of `KINDS`.
        peak: `live` when all kinds together were largest.
        working_peak: `live` when activations, temporary tensors and cast
            weights together were largest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.working_peak: Counter[str] = Counter()
        self._kinds: dict[int, str] = {}
        self._references: dict[int, weakref.ref] = {}
        self._paused = False

    def add(self, tensor: Tensor, kind: str = OTHERS) -> None:
        """Counts a tensor's storage, if it is not counted yet."""
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._kinds:
            return
        self._kinds[key] = kind

        def forget(_: weakref.ref) -> None:
            self.live[self._kinds.pop(key)] -= size
            del self._references[key]

        self._references[key] = weakref.ref(storage, forget)
        self.live[kind] += size
        self._update_peaks()

    def relabel(self, tensor: Tensor, kind: str) -> None:
        """Counts a tensor's storage as one of another kind from now on."""
        self.add(tensor)
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        self.live[self._kinds[key]] -= size
        self.live[kind] += size
        self._kinds[key] = kind

    def share(self, tensor: Tensor, original: Tensor) -> None:
        """Takes a tensor for the same memory as another one."""
        own = tensor.untyped_storage()
        self._kinds[id(own)] = OTHERS

        # The original dies with the last of both.
        def forget(kept: Any, key: int = id(own)) -> None:
            del self._kinds[key]

        weakref.finalize(own, forget, original.untyped_storage())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Counts nothing that is made meanwhile."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.bincount.default and _is_fake(args[0]):
            length = kwargs['minlength'] if kwargs else args[2]
            out = args[0].new_empty(length)  # longer only by what is there
            self.add(out)
            return out
        if func in INDEXING:  # masks of unknown content have no shape
            args = (args[0], _as_places(args[1]), *args[2:])
        out = func(*args, **(kwargs or {}))
        if self._paused:
            return out
        kind = CASTS if func is CAST and self._is_weight(args[0]) else OTHERS
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.add(leaf, kind)
        return out

    def _is_weight(self, tensor: Tensor) -> bool:
        kind = self._kinds.get(id(tensor.untyped_storage()))
        return kind == PARAMETERS

    def _update_peaks(self) -> None:
        if self.live.total() > self.peak.total():
            self.peak = self.live.copy()
        if _working(self.live) > _working(self.working_peak):
            self.working_peak = self.live.copy()


def _is_fake(tensor: Tensor) -> bool:
    return isinstance(tensor, FakeTensor)


def _as_places(indices: list[Tensor | None]) -> list[Tensor | None]:
    """Replaces real masks among indices by the places that they choose."""
    places: list[Tensor | None] = []
    for index in indices:
        if index is None or index.dtype != torch.bool:
            places.append(index)
        else:
            places += index.nonzero().unbind(1)
    return places


def _working(live: Counter[str]) -> int:
    return live[OTHERS] + live[CASTS]
