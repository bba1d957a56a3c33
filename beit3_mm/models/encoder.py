# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The Multiway encoder that every task shares (BEiT-3, section 2.1)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from beit3_mm.layers.attention import MultiwayAttention, Segments
from beit3_mm.layers.drop_path import DropPath
from beit3_mm.layers.feed_forward import LAYER_NORM_EPS, FeedForward
from beit3_mm.layers.multiway import Multiway, take_first_tokens
from beit3_mm.layers.recompute import recompute
from beit3_mm.layers.window import TokenMap

Cache = tuple[Segments, ...]  # keys and values of each layer
INIT_RANGE = 0.02  # BEiT-3, section 2.2: "such as [-0.02, 0.02]"
PAPER_DIMS = 1408  # channels of the model that range is of


class MultiwayEncoderLayer(nn.Module):
    """A pre-norm Transformer layer with shared attention and routed experts.

    Args:
        embed_dims: Channels.
        num_heads: Number of heads.
        feedforward_channels: Inner width of the feed-forward networks.
        attention_experts: Experts of the attention and its LayerNorm.
        ffn_experts: Experts of the feed-forward network.
        sub_norm: Adds the sub-LNs of the released form.
        drop_path_rate: Chance that a sample skips a residual branch.
        with_ffn_cp: Recomputes the wide activations of the feed-forward
            networks in the backward pass.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        attention_experts: tuple[str, ...],
        ffn_experts: tuple[str, ...],
        sub_norm: bool,
        drop_path_rate: float,
        with_ffn_cp: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = Multiway(
            lambda: nn.LayerNorm(embed_dims, LAYER_NORM_EPS),
            attention_experts,
        )
        self.attention = MultiwayAttention(
            embed_dims, num_heads, attention_experts, sub_norm
        )
        self.ffn = Multiway(
            lambda: FeedForward(
                embed_dims,
                feedforward_channels,
                sub_norm,
                with_cp=with_ffn_cp,
            ),
            ffn_experts,
        )
        self.drop_path = DropPath(drop_path_rate)

    def forward(
        self,
        x: Tensor,
        num_vision: int,
        attn_mask: Tensor | None = None,
        cache: Segments | None = None,
        first_tokens: bool = False,
    ) -> tuple[Tensor, Segments]:
        """Maps `(B, L, C)` to `(B, L, C)`, or to the first token of each
        modality, and returns keys and values of all tokens.

        What is cached, or is going to be, is part of an image-text pair.
        """
        part_of_pair = cache is not None
        y, segments = self.attention(
            self.attention_norm(x, num_vision),
            num_vision,
            attn_mask,
            cache,
            first_tokens,
        )
        if first_tokens:
            x, num_vision = take_first_tokens(x, num_vision)
        x = x + self.drop_path(y)
        y = self.ffn(x, num_vision, part_of_pair)
        return x + self.drop_path(y), segments

    def forward_map(self, x: Tensor, token_map: TokenMap) -> Tensor:
        """Maps the tokens `(B, H * W, C)` of a map, attending in windows."""
        y = self.attention_norm(x, x.shape[1])
        x = x + self.drop_path(self.attention.forward_map(y, token_map))
        return x + self.drop_path(self.ffn(x, x.shape[1]))


class MultiwayEncoder(nn.Module):
    """A stack of Multiway layers over one joint sequence, vision first.

    The released form has `multiway_attention=True, sub_norm=True`; the
    paper's has neither, and `num_vl_layers=3`.

    Args:
        embed_dims: Channels.
        num_layers: Number of layers.
        num_heads: Number of heads.
        feedforward_channels: Inner width of the feed-forward networks.
        multiway_attention: Attention and its norms exist per modality;
            otherwise they are shared.
        sub_norm: Adds the sub-LNs (Magneto, arXiv 2210.06423).
        num_vl_layers: Number of top layers with a vision-language expert.
        modalities: `vision`, `language` or both; experts of the others
            are not built.
        drop_path_rate: Drop path of the last layer; it rises linearly from 0.
        final_norm: Adds a LayerNorm after the last layer.
        with_cp: Recomputes each layer in the backward pass to save memory.
        with_ffn_cp: Recomputes the wide activations of the feed-forward
            networks alone, without any matrix multiplication.

    Raises:
        ValueError: If `modalities` or `num_vl_layers` is out of range.
    """

    def __init__(
        self,
        embed_dims: int,
        num_layers: int,
        num_heads: int,
        feedforward_channels: int,
        multiway_attention: bool = True,
        sub_norm: bool = True,
        num_vl_layers: int = 0,
        modalities: tuple[str, ...] = ('vision', 'language'),
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
        with_cp: bool = False,
        with_ffn_cp: bool = False,
    ) -> None:
        super().__init__()
        if not modalities or set(modalities) - {'vision', 'language'}:
            raise ValueError(f'{modalities=}: choose of vision, language')
        if not 0 <= num_vl_layers <= num_layers:
            raise ValueError(f'{num_vl_layers=} must be in 0..{num_layers=}')
        self.with_cp = with_cp
        attention_experts = modalities if multiway_attention else ('shared',)
        num_vl = num_vl_layers if len(modalities) == 2 else 0
        layers = []
        for i in range(num_layers):
            fused = ('vision_language',) * (i >= num_layers - num_vl)
            layer = MultiwayEncoderLayer(
                embed_dims,
                num_heads,
                feedforward_channels,
                attention_experts=attention_experts,
                ffn_experts=(*modalities, *fused),
                sub_norm=sub_norm,
                drop_path_rate=drop_path_rate * i / max(num_layers - 1, 1),
                with_ffn_cp=with_ffn_cp,
            )
            layers.append(layer)
        self.layers = nn.ModuleList(layers)
        self.norm = (
            Multiway(
                lambda: nn.LayerNorm(embed_dims, LAYER_NORM_EPS),
                attention_experts,
            )
            if final_norm
            else None
        )
        init_layers(self.layers, sub_norm, embed_dims)

    def forward(
        self,
        x: Tensor,
        num_vision: int,
        attn_mask: Tensor | None = None,
        cache: Cache | None = None,
        first_tokens: bool = False,
    ) -> tuple[Tensor, Cache | None]:
        """Encodes a joint sequence.

        Args:
            x: Embedded tokens `(B, L, C)`, vision tokens first.
            num_vision: Number of vision tokens in `x`.
            attn_mask: Bool, True = may attend; broadcasts to
                `(B, heads, L, S)`.
            cache: None to keep none; `()` to start one; or the one that an
                earlier call returned. A sequence with a cache counts as that
                of an image with its text, whatever comes at this call.
            first_tokens: Only the first token of each modality leaves the
                last layer, which computes no other.

        Returns:
            The tokens `(B, L, C)`, or the first ones, and the cache where one
            was asked for.
        """
        past = cache or (cache,) * len(self.layers)
        kept = []
        for layer, segments in zip(self.layers, past, strict=True):
            first = first_tokens and layer is self.layers[-1]
            x, segments = self._run(
                layer, x, num_vision, attn_mask, segments, first
            )
            if cache is not None:
                kept.append(segments)
        if self.norm is not None:
            x = self.norm(
                x, min(num_vision, 1) if first_tokens else num_vision
            )
        return x, None if cache is None else tuple(kept)

    def forward_layer_map(
        self, index: int, x: Tensor, token_map: TokenMap
    ) -> Tensor:
        """Runs one layer on the tokens `(B, H * W, C)` of a map."""
        return self._run(self.layers[index].forward_map, x, token_map)

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        return recompute(self.with_cp and self.training, function, *args)


def init_layers(
    layers: nn.ModuleList, sub_norm: bool, embed_dims: int
) -> None:
    """Initialises the linear layers of an encoder in place.

    Without sub-LN as BEiT does: uniform in a small range, then the output
    matrices of attention and feed-forward network of layer l (from 1) scaled
    by 1 / sqrt(2 l) (BEiT-3, section 2.2). The paper's range is that of its
    1408 channels; of C channels it is sqrt(1408 / C) times as wide, so that a
    layer changes its input as much: narrow encoders hardly learn otherwise.

    With sub-LN as Magneto does (arXiv 2210.06423, figure 2): Xavier normal,
    with gain sqrt(log 2 N) for the value, output and feed-forward matrices of
    N layers.
    """
    limit = INIT_RANGE * math.sqrt(PAPER_DIMS / embed_dims)
    gain = math.sqrt(math.log(2 * len(layers))) if sub_norm else 1.0
    for index, layer in enumerate(layers, start=1):
        for name, module in layer.named_modules():
            if not isinstance(module, nn.Linear):
                continue
            nn.init.zeros_(module.bias)
            if sub_norm:
                scaled = '.q_proj.' not in name and '.k_proj.' not in name
                nn.init.xavier_normal_(module.weight, gain if scaled else 1)
                continue
            nn.init.uniform_(module.weight, -limit, limit)
            if '.out_proj.' in name or name.endswith('.fc2'):
                with torch.no_grad():
                    module.weight.div_(math.sqrt(2 * index))
