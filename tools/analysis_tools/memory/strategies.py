# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What a process holds of a model that several processes train."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from memory.step import Usage
from memory.tracker import CASTS, GRADIENTS, OTHERS, PARAMETERS, STATES

BUCKETS = 'gradient buckets'
GATHERED = 'gathered layers'
ROWS = (PARAMETERS, STATES, GRADIENTS, BUCKETS, GATHERED, CASTS, OTHERS)
FLOAT32 = 4  # bytes; of parameters, of gradients, and of their sums


@dataclass(frozen=True)
class Prediction:
    """The peak of a process.

    Args:
        strategy: Of `STRATEGIES`.
        devices: Number of processes.
        rows: Bytes of each of `ROWS` at the peak.
    """

    strategy: str
    devices: int
    rows: dict[str, int]

    @property
    def total(self) -> int:
        """All rows together."""
        return sum(self.rows.values())


def ddp(usage: Usage, devices: int, param_dtype: str | None) -> Prediction:
    """Every process has everything, and copies of all gradients.

    The peak is that of forward and backward pass, or of the optimizer's step.
    DDP sums gradients in buckets, which are as large as the gradients and
    stay (torch, `DistributedDataParallel(gradient_as_bucket_view=False)`,
    mmengine's default). A single process has none.

    Args:
        usage: Of one process.
        devices: Number of processes.
        param_dtype: Not used.
    """
    at_step = {
        PARAMETERS: usage.parameters + usage.unsharded,
        STATES: usage.states,
        GRADIENTS: usage.gradients,
        OTHERS: usage.step_copy,
    }
    largest = max(usage.peak, at_step, key=lambda x: sum(x.values()))
    rows = {kind: largest.get(kind, 0) for kind in ROWS}
    rows[BUCKETS] = usage.gradients if devices > 1 else 0
    return Prediction('ddp', devices, rows)


def fsdp2(usage: Usage, devices: int, param_dtype: str | None) -> Prediction:
    """Parameters, gradients and states are spread over all processes.

    Beside what is gathered (`step.gathered_at_once`) there are gradients of a
    layer and of what is in none before they are summed, and of two layers in
    float32 on their way (torch, `fully_shard`). All are taken to meet the
    largest activations, so that this is a bound. With few devices the
    optimizer's step can be the peak instead.

    Args:
        usage: Of one process.
        devices: Number of processes.
        param_dtype: Type in which layers are gathered, such as
            `'bfloat16'`; weights are then cast no more.

    Raises:
        ValueError: As `FSDP2Strategy` does, if the model has no layer that is
            sharded by itself, or a parameter without a dimension.
    """
    if not usage.layer:
        raise ValueError(
            'the model has no layer that FSDP2Strategy shares by itself: give '
            'the names of classes, strategy.layers, or leave out --strategy '
            'fsdp2'
        )
    if any(rows == 0 for rows, *_ in usage.parts):
        raise ValueError(
            'the model has a parameter without a dimension, which '
            'FSDP2Strategy cannot share: leave out --strategy fsdp2'
        )
    dtype = getattr(torch, param_dtype) if param_dtype else torch.float32
    scale = dtype.itemsize / FLOAT32
    summed = scale * (usage.layer + usage.root) + 2 * usage.layer
    parameters, gradients = usage.shares(devices)
    share = gradients / max(usage.gradients, 1)
    kept = {
        PARAMETERS: parameters + usage.unsharded,
        STATES: round(share * usage.states),
        GRADIENTS: gradients,
    }
    working = {
        GATHERED: round(scale * usage.gathered + summed),
        CASTS: 0 if param_dtype else usage.working_peak[CASTS],
        OTHERS: usage.working_peak[OTHERS],
    }
    at_step = {OTHERS: round(share * usage.step_copy)}
    largest = max(working, at_step, key=lambda x: sum(x.values()))
    rows = dict.fromkeys(ROWS, 0) | kept | largest
    return Prediction('fsdp2', devices, rows)


STRATEGIES: dict[str, Callable[[Usage, int, str | None], Prediction]] = {
    'ddp': ddp,
    'fsdp2': fsdp2,
}
