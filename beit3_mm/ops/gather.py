# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Rows of all processes, with gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every process has a loss of its own that depends on all rows.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather_rows(rows: Tensor) -> tuple[Tensor, int]:
    """Gathers a tensor's rows over all processes, in the order of the ranks.

    Backward, the gradient of a row is the **sum** over the losses of all
    processes. So, if each process's loss is the mean over its own rows, DDP,
    which averages the gradients of parameters, ends up with the gradient of
    the mean over all rows.

    Args:
        rows: `(B, ...)`, with the same shape in every process.

    Returns:
        All rows `(processes * B, ...)`, and the number of the first own one;
        the tensor itself and 0 without torch.distributed.

    Raises:
        ValueError: If the processes have different numbers of rows; in all
            of them.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows, 0
    count = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(count) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, count)
    counts = torch.cat(counts).tolist()
    if len(set(counts)) > 1:
        raise ValueError(
            f'the processes have {counts} rows, but gathering needs as many '
            'in each: drop the last, incomplete batch (drop_last=True)'
        )
    return _Gather.apply(rows.contiguous()), dist.get_rank() * len(rows)
