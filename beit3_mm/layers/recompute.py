# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Activation checkpointing: less memory for one more forward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def recompute(enabled: bool, function: Callable[..., Any], *args: Any) -> Any:
    """Calls `function(*args)` and, if enabled and gradients are wanted, keeps
    nothing for the backward pass, which calls it again (non-reentrant).
    """
    if enabled and torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False)
    return function(*args)
