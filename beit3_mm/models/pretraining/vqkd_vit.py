# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The plain ViT that encoder and decoder of BEiT v2's tokenizer are.

B batch, N patches, C channels, H heads, D head dim.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beit3_mm.layers.embeddings import resize_positions
from beit3_mm.layers.feed_forward import FeedForward

LAYER_NORM_EPS = 1e-6  # unilm/beit2, modeling_vqkd.py
# Its weights begin with this deviation, at this width; narrower ones begin
# wider, or their layers would hardly add to what they are given.
INIT_STD, OFFICIAL_DIMS = 0.02, 768


class SelfAttention(nn.Module):
    """Multi-head self-attention with biases of queries and values alone.

    Args:
        embed_dims: Channels in and out.
        num_heads: Number of heads.

    Raises:
        ValueError: If `embed_dims` does not divide by `num_heads`.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'{embed_dims=} must divide by {num_heads=}')
        self.num_heads = num_heads
        self.qkv_proj = nn.Linear(embed_dims, 3 * embed_dims, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(embed_dims))
        self.v_bias = nn.Parameter(torch.zeros(embed_dims))
        self.out_proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normed tokens `(B, L, C)` to `(B, L, C)`."""
        k_bias = torch.zeros_like(self.q_bias)
        bias = torch.cat([self.q_bias, k_bias, self.v_bias])
        qkv = F.linear(x, self.qkv_proj.weight, bias)
        # (B, L, 3 * C) -> (3, B, H, L, D)
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(*qkv)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class PlainViTLayer(nn.Module):
    """A pre-norm Transformer layer.

    Args:
        embed_dims: Channels.
        num_heads: Number of heads.
        feedforward_channels: Inner width of the feed-forward network.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, feedforward_channels: int
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(embed_dims, LAYER_NORM_EPS)
        self.attention = SelfAttention(embed_dims, num_heads)
        self.ffn = FeedForward(
            embed_dims,
            feedforward_channels,
            sub_norm=False,
            norm_eps=LAYER_NORM_EPS,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, L, C)` to `(B, L, C)`."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.ffn(x)


class PlainViT(nn.Module):
    """Maps images, or maps of codes, to tokens of their patches.

    A ViT with learned positions and a CLS token, which is dropped behind the
    last layer; a LayerNorm of the patches ends it (unilm/beit2,
    modeling_vqkd.py).

    Args:
        in_channels: Channels of the map.
        img_size: Side of the maps that the positions are made for; others
            resize them, when they are loaded or on the fly.
        patch_size: Side of a patch.
        embed_dims: Channels.
        num_layers: Number of layers.
        num_heads: Number of heads.
        feedforward_channels: Inner width of the feed-forward networks.

    Raises:
        ValueError: If `img_size` does not divide by `patch_size`.
    """

    def __init__(
        self,
        in_channels: int,
        img_size: int,
        patch_size: int,
        embed_dims: int,
        num_layers: int,
        num_heads: int,
        feedforward_channels: int,
    ) -> None:
        super().__init__()
        if img_size % patch_size:
            raise ValueError(f'{img_size=} must divide by {patch_size=}')
        self.patch_size = patch_size
        self.table_side = img_size // patch_size
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        num_tokens = 1 + self.table_side**2
        self.positions = nn.Parameter(torch.zeros(1, num_tokens, embed_dims))
        self.layers = nn.ModuleList(
            PlainViTLayer(embed_dims, num_heads, feedforward_channels)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dims, LAYER_NORM_EPS)
        self._init_weights(embed_dims)

    def _init_weights(self, embed_dims: int) -> None:
        """Draws matrices and tokens around zero; what layer l adds is divided
        by sqrt(2 l), as in BEiT.
        """
        std = INIT_STD * math.sqrt(OFFICIAL_DIMS / embed_dims)
        for tokens in (self.cls_token, self.positions):
            nn.init.trunc_normal_(tokens, std=INIT_STD)
        init_linears(self, std)
        with torch.no_grad():
            for index, layer in enumerate(self.layers, start=1):
                layer.attention.out_proj.weight.div_(math.sqrt(2 * index))
                layer.ffn.fc2.weight.div_(math.sqrt(2 * index))

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Resizes positions of another size in the state dict, a copy."""
        name = f'{prefix}positions'
        table = state_dict.get(name)
        if table is not None and table.ndim == 3:
            side = math.isqrt(table.shape[1] - 1)
            square = side > 0 and 1 + side * side == table.shape[1]
            if square and side != self.table_side:
                grid = self.table_side, self.table_side
                state_dict[name] = _resize(table.float(), side, grid)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, in_channels, height, width)` to patches `(B, N, C)`.

        Raises:
            ValueError: If height or width does not divide by the patch size.
        """
        height, width = x.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f'images of {height} x {width} pixels do not divide into '
                f'patches of {self.patch_size}: resize them'
            )
        grid = height // self.patch_size, width // self.patch_size
        # (B, C, h, w) -> (B, N, C); contiguous, or every layer pays
        x = self.proj(x).flatten(2).transpose(1, 2).contiguous()
        cls_token = self.cls_token.to(x.dtype).expand(len(x), -1, -1)
        x = torch.cat([cls_token, x], dim=1)
        x = x + _resize(self.positions, self.table_side, grid)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x[:, 1:])


def init_linears(module: nn.Module, std: float) -> None:
    """Draws the matrices of linear layers around zero; biases are zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=std, a=-3 * std, b=3 * std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _resize(table: Tensor, side: int, grid: tuple[int, int]) -> Tensor:
    """Resizes positions `(1, 1 + side * side, C)`, CLS token first."""
    return resize_positions(table[0], (side, side), grid, num_others=1)[None]
