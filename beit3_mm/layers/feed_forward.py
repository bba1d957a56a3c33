# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The feed-forward network of one expert."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beit3_mm.layers.recompute import recompute

LAYER_NORM_EPS = 1e-5  # torchscale's default; BEiT-3 keeps it
# Tokens whose inner activations stay in a CPU's cache
CPU_CHUNK = 1024


class FeedForward(nn.Module):
    """A pre-norm feed-forward network, with its own LayerNorm in front.

    Args:
        embed_dims: Channels in and out.
        feedforward_channels: Inner width.
        sub_norm: Adds the sub-LN after the activation (Magneto, arXiv
            2210.06423; the released form of BEiT-3).
        norm_eps: Of the LayerNorm in front.
        with_cp: Recomputes the activation and the sub-LN, but no matrix
            multiplication, in the backward pass to save memory.
    """

    def __init__(
        self,
        embed_dims: int,
        feedforward_channels: int,
        sub_norm: bool,
        norm_eps: float = LAYER_NORM_EPS,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm = nn.LayerNorm(embed_dims, norm_eps)
        self.fc1 = nn.Linear(embed_dims, feedforward_channels)
        self.sub_norm = (
            nn.LayerNorm(feedforward_channels, LAYER_NORM_EPS)
            if sub_norm
            else nn.Identity()
        )
        self.fc2 = nn.Linear(feedforward_channels, embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, L, C)` to `(B, L, C)`."""
        if x.device.type != 'cpu' or torch.is_grad_enabled():
            return self._map(x)
        # Nothing is kept for a backward pass, so the wide activations of one
        # chunk after the other fit into the same, cached memory.
        # Equal chunks: a short last one would read all weights for little.
        tokens = x.flatten(0, -2)
        chunks = tokens.chunk(max(1, -(-len(tokens) // CPU_CHUNK)))
        return torch.cat([self._map(chunk) for chunk in chunks]).view_as(x)

    def _map(self, x: Tensor) -> Tensor:
        hidden = self.fc1(self.norm(x))
        return recompute(self.with_cp and self.training, self._narrow, hidden)

    def _narrow(self, hidden: Tensor) -> Tensor:
        # Recomputing ends with the input of `fc2`, the last thing it keeps.
        return self.fc2(self.sub_norm(F.gelu(hidden)))
