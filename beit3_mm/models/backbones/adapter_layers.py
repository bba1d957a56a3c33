# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The parts of ViT-Adapter (arXiv 2205.08534).

B batch, N tokens of the ViT (stride 16), C channels, and the S tokens of the
strides 8, 16 and 32, one level after the other, which are called levels.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor, nn

from beit3_mm.layers.drop_path import DropPath

LAYER_NORM_EPS = 1e-6  # ViT-Adapter, ops/../adapter_modules.py


def _conv(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """A 3x3 convolution with batch norm and ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


class SpatialPriorModule(nn.Module):
    """A small convolutional network beside the ViT.

    Args:
        channels: Of the stem.
        embed_dims: Channels of the maps.
    """

    def __init__(self, channels: int, embed_dims: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_conv(3, channels, 2),
            *_conv(channels, channels, 1),
            *_conv(channels, channels, 1),
            nn.MaxPool2d(3, 2, 1),
        )
        widths = [channels, 2 * channels, 4 * channels, 4 * channels]
        self.convs = nn.ModuleList(
            nn.Sequential(*_conv(before, after, 2))
            for before, after in itertools.pairwise(widths)
        )
        self.projs = nn.ModuleList(
            nn.Conv2d(width, embed_dims, 1) for width in widths
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps `(B, 3, H, W)` to maps `(B, C, h, w)` of strides 4 to 32."""
        maps = [self.stem(image)]
        for conv in self.convs:
            maps.append(conv(maps[-1]))
        return [proj(x) for proj, x in zip(self.projs, maps)]


@dataclass(frozen=True)
class Geometry:
    """Where queries lie and which maps they sample, as mmcv's module asks.

    Args:
        reference_points: (1, Q, L, 2), (x, y) of the queries in [0, 1].
        spatial_shapes: (L, 2), (height, width) of the sampled maps.
        level_start_index: (L,), their first tokens.
    """

    reference_points: Tensor
    spatial_shapes: Tensor
    level_start_index: Tensor

    @classmethod
    def of(
        cls,
        queries: Sequence[tuple[int, int]],
        sampled: Sequence[tuple[int, int]],
        device: torch.device,
    ) -> 'Geometry':
        """Puts queries onto the centres of cells.

        Args:
            queries: (height, width) of the maps that queries come from.
            sampled: (height, width) of the maps that are sampled.
            device: Of all tensors.
        """
        points = torch.cat([_centres(grid, device) for grid in queries])
        shapes = torch.tensor(sampled, device=device)
        sizes = shapes.prod(1)
        return cls(
            points[None, :, None].expand(-1, -1, len(sampled), -1),
            shapes,
            sizes.cumsum(0) - sizes,
        )


def _centres(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Returns the (x, y) of all cells of a grid in [0, 1], `(h * w, 2)`."""
    y, x = ((torch.arange(side, device=device) + 0.5) / side for side in grid)
    return torch.stack(torch.meshgrid(x, y, indexing='xy'), -1).flatten(0, 1)


class DeformableCrossAttention(nn.Module):
    """Deformable attention of normed queries to normed features.

    Args:
        embed_dims: Channels in and out.
        num_heads: Number of heads.
        num_levels: Number of maps that are sampled.
        num_points: Samples of each head in a map.
        value_ratio: Width of the values as a share of `embed_dims`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_levels: int,
        num_points: int,
        value_ratio: float,
    ) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(embed_dims, LAYER_NORM_EPS)
        self.feat_norm = nn.LayerNorm(embed_dims, LAYER_NORM_EPS)
        self.attn = MultiScaleDeformableAttention(
            embed_dims,
            num_heads,
            num_levels,
            num_points,
            dropout=0.0,
            batch_first=True,
            value_proj_ratio=value_ratio,
        )

    def forward(
        self,
        query: Tensor,
        feat: Tensor,
        geometry: Geometry,
        identity: Tensor,
    ) -> Tensor:
        """Returns the attention of `query` (B, Q, C) to `feat` (B, S, C),
        added to `identity`.
        """
        return self.attn(
            self.query_norm(query),
            value=self.feat_norm(feat),
            identity=identity,
            reference_points=geometry.reference_points,
            spatial_shapes=geometry.spatial_shapes,
            level_start_index=geometry.level_start_index,
        )


class ConvFFN(nn.Module):
    """A feed-forward network with a depth-wise convolution of each level.

    Args:
        embed_dims: Channels in and out.
        feedforward_channels: Inner width.
    """

    def __init__(self, embed_dims: int, feedforward_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims, LAYER_NORM_EPS)
        self.fc1 = nn.Linear(embed_dims, feedforward_channels)
        self.dwconv = nn.Conv2d(
            feedforward_channels,
            feedforward_channels,
            3,
            padding=1,
            groups=feedforward_channels,
        )
        self.fc2 = nn.Linear(feedforward_channels, embed_dims)

    def forward(self, x: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
        """Maps levels `(B, S, C)` of (height, width) `grids`."""
        x = self.fc1(self.norm(x))
        levels = x.split([height * width for height, width in grids], 1)
        levels = [
            self.dwconv(tokens_to_map(level, grid)).flatten(2).transpose(1, 2)
            for level, grid in zip(levels, grids)
        ]
        return self.fc2(F.gelu(torch.cat(levels, 1)))


class Extractor(nn.Module):
    """Lets the levels gather from the tokens of the ViT.

    Args:
        attention: From the levels to the tokens, one level.
        ffn: What follows.
        drop_path_rate: Of `ffn`.
    """

    def __init__(
        self,
        attention: DeformableCrossAttention,
        ffn: ConvFFN,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.ffn = ffn
        self.drop_path = DropPath(drop_path_rate)

    def forward(
        self,
        levels: Tensor,
        tokens: Tensor,
        geometry: Geometry,
        grids: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Maps levels `(B, S, C)` of `grids`, given tokens `(B, N, C)`."""
        levels = self.attention(levels, tokens, geometry, identity=levels)
        return levels + self.drop_path(self.ffn(levels, grids))


class Injector(nn.Module):
    """Adds what the tokens of the ViT gather from the levels.

    Args:
        attention: From the tokens to three levels.
        embed_dims: Channels.
        init_value: Of the scale `gamma`.
    """

    def __init__(
        self,
        attention: DeformableCrossAttention,
        embed_dims: int,
        init_value: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.gamma = nn.Parameter(torch.full((embed_dims,), init_value))

    def forward(
        self, tokens: Tensor, levels: Tensor, geometry: Geometry
    ) -> Tensor:
        """Maps tokens `(B, N, C)`, given levels `(B, S, C)`."""
        zero = tokens.new_zeros(())
        gathered = self.attention(tokens, levels, geometry, identity=zero)
        return tokens + self.gamma * gathered


def tokens_to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Maps `(B, h * w, C)` to `(B, C, h, w)`."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def map_to_tokens(map_: Tensor) -> Tensor:
    """Maps `(B, C, h, w)` to `(B, h * w, C)`."""
    return map_.flatten(2).transpose(1, 2)
