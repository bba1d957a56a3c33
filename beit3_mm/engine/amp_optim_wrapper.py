# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Training in bfloat16 autocast on CPU and GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from beit3_mm.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Runs the model in bfloat16 autocast on the device that it is on.

    bfloat16 has the range of float32, so that no gradient scaler is needed;
    parameters, gradients and optimizer states stay in float32. mmengine's
    wrapper of the same name asks for a GPU.

    Example:
        >>> dict(type='beit3_mm.AmpOptimWrapper', optimizer=dict(type='AdamW'))
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Adds autocast to gradient accumulation's context."""
        device_type = next(model.parameters()).device.type
        with (
            super().optim_context(model),
            torch.autocast(device_type, dtype=torch.bfloat16),
        ):
            yield
