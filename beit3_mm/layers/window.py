# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Maps of tokens: windows and decomposed relative positions.

B batch, N windows of a map, L tokens, C channels, H heads, D head dim.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RelativePositions(nn.Module):
    """Decomposed relative positions, one table per axis and layer.

    The bias between two tokens is q . r_h[dy] + q . r_w[dx], with q unscaled
    (MViTv2, arXiv 2112.01526; ViTDet, arXiv 2203.16527). Tables start at
    zero, so that a model without them is the starting point.

    Args:
        size: Side of the map or window that the tables are made for, in
            tokens; another size interpolates them linearly.
        head_dims: Channels of one head.
    """

    def __init__(self, size: int, head_dims: int) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.zeros(2 * size - 1, head_dims))
        self.width = nn.Parameter(torch.zeros(2 * size - 1, head_dims))

    def forward(self, q: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps queries `(B, H, L, D)` of a grid to a bias `(B, H, L, L)`."""
        height, width = grid
        q_map = q.unflatten(2, grid)  # (B, H, h, w, D)
        rows = _pairwise(self.height, height)  # (h, h, D)
        columns = _pairwise(self.width, width)  # (w, w, D)
        bias_h = torch.einsum('bnhwd,hkd->bnhwk', q_map, rows)
        bias_w = torch.einsum('bnhwd,wkd->bnhwk', q_map, columns)
        bias = bias_h.unsqueeze(-1) + bias_w.unsqueeze(-2)
        return bias.flatten(4).flatten(2, 3)  # (B, H, L, L)


def _pairwise(table: Tensor, size: int) -> Tensor:
    """Returns the entries `(size, size, D)` for each query and key."""
    length = 2 * size - 1
    if table.shape[0] != length:
        table = F.interpolate(table.T[None], length, mode='linear')[0].T
    index = torch.arange(size, device=table.device)
    return table[index[:, None] - index[None, :] + size - 1]


@dataclass(frozen=True)
class TokenMap:
    """How a sequence of vision tokens lies on a map, and who attends to whom.

    Args:
        grid: (H, W) of the map in tokens.
        window_size: Side of a window in tokens; 0 attends globally.
        relative_positions: Adds a bias to the attention, if given.
    """

    grid: tuple[int, int]
    window_size: int = 0
    relative_positions: RelativePositions | None = None

    @property
    def _windows(self) -> tuple[int, int]:
        size = self.window_size
        return -(-self.grid[0] // size), -(-self.grid[1] // size)

    def split(self, x: Tensor, fill: Tensor) -> Tensor:
        """Cuts tokens into windows, the incomplete ones filled up.

        Args:
            x: Tokens `(B, H * W, C)`.
            fill: Value `(C,)` of the tokens that fill up a window.

        Returns:
            `(B * N, window_size ** 2, C)`, or `x` for global attention.
        """
        size = self.window_size
        if not size:
            return x
        (height, width), (rows, columns) = self.grid, self._windows
        x = x.unflatten(1, self.grid)
        if (rows * size, columns * size) != self.grid:
            fill = fill.to(x.dtype)
            shape = (len(x), height, columns * size - width, x.shape[-1])
            x = torch.cat([x, fill.expand(shape)], dim=2)
            shape = (len(x), rows * size - height, *x.shape[2:])
            x = torch.cat([x, fill.expand(shape)], dim=1)
        x = x.unflatten(2, (columns, size)).unflatten(1, (rows, size))
        # (B, rows, size, columns, size, C) -> (B * N, size * size, C)
        return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)

    def join(self, x: Tensor) -> Tensor:
        """Puts windows back together; the inverse of `split`."""
        size = self.window_size
        if not size:
            return x
        (height, width), (rows, columns) = self.grid, self._windows
        x = x.unflatten(0, (-1, rows, columns)).unflatten(3, (size, size))
        # (B, rows, columns, size, size, C) -> (B, rows*size, columns*size, C)
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x[:, :height, :width].flatten(1, 2)

    def bias(self, q: Tensor) -> Tensor | None:
        """Returns the relative position bias of queries `(B, H, L, D)`."""
        if self.relative_positions is None:
            return None
        size = self.window_size
        return self.relative_positions(q, (size, size) if size else self.grid)
