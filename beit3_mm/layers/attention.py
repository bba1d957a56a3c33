# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Self-attention over the joint sequence, with projections per modality.

B batch, L tokens, S cached and new tokens, C channels, H heads, D head dim.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beit3_mm.layers.feed_forward import LAYER_NORM_EPS
from beit3_mm.layers.multiway import Multiway, take_first_tokens
from beit3_mm.layers.window import TokenMap

KeyValue = tuple[Tensor, Tensor]  # keys and values, (B, H, S, D) each
# Of a sequence, in the parts that it came in: none of them is ever copied
Segments = tuple[KeyValue, ...]


class MultiwayAttention(nn.Module):
    """Multi-head self-attention: one softmax over all tokens.

    With `experts=('shared',)` it is the paper's attention; with
    `('vision', 'language')` the released models', whose projections and sub-LN
    are per modality.

    Args:
        embed_dims: Channels in and out.
        num_heads: Number of heads.
        experts: Experts of every projection.
        sub_norm: Adds the sub-LN between the attention sum and `out_proj`.

    Raises:
        ValueError: If `embed_dims` does not divide by `num_heads`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        experts: Sequence[str],
        sub_norm: bool,
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'{embed_dims=} must divide by {num_heads=}')
        self.num_heads = num_heads

        def linear() -> nn.Module:
            return nn.Linear(embed_dims, embed_dims)

        def norm() -> nn.Module:
            return nn.LayerNorm(embed_dims, LAYER_NORM_EPS)

        self.q_proj = Multiway(linear, experts)
        self.k_proj = Multiway(linear, experts)
        self.v_proj = Multiway(linear, experts)
        self.sub_norm = Multiway(norm, experts) if sub_norm else None
        self.out_proj = Multiway(linear, experts)

    def forward(
        self,
        x: Tensor,
        num_vision: int,
        attn_mask: Tensor | None = None,
        cache: Segments | None = None,
        first_tokens: bool = False,
    ) -> tuple[Tensor, Segments]:
        """Attends over the joint sequence.

        Args:
            x: Normed tokens `(B, L, C)`, vision tokens first.
            num_vision: Number of vision tokens.
            attn_mask: Bool, True = may attend; broadcasts to
                `(B, H, L, S)`.
            cache: Keys and values of earlier tokens.
            first_tokens: Only the first token of each modality attends.

        Returns:
            The tokens `(B, L, C)`, or the first ones; and the cache with
            another segment, the keys and values of these tokens.
        """
        queries = x, num_vision
        if first_tokens:
            queries = take_first_tokens(x, num_vision)
        q = self._heads(self.q_proj(*queries))
        k = self._heads(self.k_proj(x, num_vision))
        v = self._heads(self.v_proj(x, num_vision))
        segments = (*(cache or ()), (k, v))
        out = attend(q, segments, attn_mask)
        out = out.transpose(1, 2).flatten(2)  # (B, H, L, D) -> (B, L, C)
        return self._project(out, queries[1]), segments

    def forward_map(self, x: Tensor, token_map: TokenMap) -> Tensor:
        """Attends within the windows of a map of vision tokens.

        The windows of a map that does not divide are filled with zero tokens
        *after* the norm and are not masked, as in ViTDet (arXiv 2203.16527).
        The key and value of a zero token are the biases, so the projections
        run on real tokens only.

        Args:
            x: Normed tokens `(B, H * W, C)`.
            token_map: Grid, windows and relative positions.

        Returns:
            The tokens `(B, H * W, C)`.
        """
        num_vision = x.shape[1]
        name = self.k_proj.expert(num_vision, num_vision)
        q = self.q_proj(x, num_vision)
        k = self.k_proj(x, num_vision)
        v = self.v_proj(x, num_vision)
        q = self._heads(token_map.split(q, q.new_zeros(q.shape[-1])))
        k = self._heads(token_map.split(k, self.k_proj[name].bias))
        v = self._heads(token_map.split(v, self.v_proj[name].bias))
        out = F.scaled_dot_product_attention(q, k, v, token_map.bias(q))
        out = token_map.join(out.transpose(1, 2).flatten(2))
        return self._project(out, num_vision)

    def _heads(self, x: Tensor) -> Tensor:
        # (B, L, C) -> (B, H, L, D)
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _project(self, x: Tensor, num_vision: int) -> Tensor:
        if self.sub_norm is not None:
            x = self.sub_norm(x, num_vision)
        return self.out_proj(x, num_vision)


def attend(
    q: Tensor, segments: Segments, attn_mask: Tensor | None = None
) -> Tensor:
    """Attends with one softmax over the keys of all segments.

    Several segments are multiplied one by one: to join them would copy the
    keys and values of a whole image at every step of decoding.

    Args:
        q: Queries `(B, H, L, D)`; few, if there are several segments.
        segments: Keys and values, S in all.
        attn_mask: Bool, True = may attend; broadcasts to `(B, H, L, S)`.

    Returns:
        `(B, H, L, D)`.
    """
    if len(segments) == 1:
        return F.scaled_dot_product_attention(q, *segments[0], attn_mask)
    q = q * q.shape[-1] ** -0.5
    scores = torch.cat([q @ k.transpose(2, 3) for k, _ in segments], dim=3)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    weights = scores.softmax(3, dtype=torch.float32).type_as(q)
    parts = weights.split([k.shape[2] for k, _ in segments], dim=3)
    return sum(part @ v for part, (_, v) in zip(parts, segments))
