# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Tensors that are spread over processes, and whole ones."""

from copy import copy
from typing import Any

import torch
from mmengine.dist import is_main_process
from torch import Tensor


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """Returns this process's part of a whole tensor.

    All processes must call it; the first one sends the parts.

    Args:
        value: The same tensor in every process.
        like: Of the same shape. Where it is sharded the result is as well;
            else it is `value`.
    """
    if not _is_sharded(like) or _is_sharded(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    value = value.to(like.to_local().device, like.dtype)
    return distribute_tensor(value, like.device_mesh, like.placements)


def whole(value: Any) -> Any:
    """Puts sharded tensors in nested dicts, lists and tuples together.

    All processes must call it with values of one structure; the main one gets
    whole tensors on the CPU, the others empty ones, to save their memory.
    """
    if _is_sharded(value):
        gathered = value.full_tensor()
        return gathered.cpu() if is_main_process() else torch.empty(0)
    if isinstance(value, dict):
        # Copied, and with the versions of modules that a state dict has: the
        # dicts of an optimizer's state are its own.
        copied = copy(value)
        copied.update((key, whole(item)) for key, item in value.items())
        return copied
    if isinstance(value, list | tuple):
        return type(value)(whole(item) for item in value)
    return value


def _is_sharded(value: Any) -> bool:
    # By what a DTensor has: torch < 2.5 has no public class of that name.
    return isinstance(value, Tensor) and hasattr(value, 'full_tensor')
