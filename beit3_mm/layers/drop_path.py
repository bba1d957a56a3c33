# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Stochastic depth."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops a residual branch for some samples (arXiv 1603.09382).

    Args:
        rate: Chance of a drop; kept branches are scaled by 1 / (1 - rate).

    Raises:
        ValueError: If `rate` is not in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'drop path {rate=} must be in [0, 1)')
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, ...)` to `(B, ...)`."""
        if not self.training or self.rate == 0:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        keep = 1 - self.rate
        return x * x.new_empty(shape).bernoulli_(keep).div_(keep)
