# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Tensors that are spread over processes, and whole ones."""

from typing import Any

import torch
from mmengine.dist import is_main_process
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def shard_like(value: Tensor, like: Tensor) -> Tensor:
    """Returns this process's part of a whole tensor.

    Args:
        value: The same tensor in every process.
        like: Of the same shape. Where it is sharded the result is as well;
            else it is `value`.
    """
    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    device = like.to_local().device
    return distribute_tensor(
        value.to(device, like.dtype),
        like.device_mesh,
        like.placements,
        src_data_rank=None,  # every process has it: nothing is sent
    )


def whole(value: Any) -> Any:
    """Puts sharded tensors in nested dicts, lists and tuples together.

    All processes must call it with values of one structure; the main one gets
    whole tensors on the CPU, the others empty ones, to save their memory.
    """
    if isinstance(value, DTensor):
        gathered = value.full_tensor()
        return gathered.cpu() if is_main_process() else torch.empty(0)
    if isinstance(value, dict):
        for key in value:
            value[key] = whole(value[key])
        return value
    if isinstance(value, list | tuple):
        return type(value)(whole(item) for item in value)
    return value
