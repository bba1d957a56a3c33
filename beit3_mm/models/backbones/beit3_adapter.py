# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""BEiT-3 with ViT-Adapter, for dense tasks that want four levels."""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from beit3_mm.engine.pretrained import load_adapter
from beit3_mm.layers.recompute import recompute
from beit3_mm.models.backbones.adapter_layers import (
    ConvFFN,
    DeformableCrossAttention,
    Extractor,
    Geometry,
    Injector,
    SpatialPriorModule,
    map_to_tokens,
    tokens_to_map,
)
from beit3_mm.models.backbones.beit3_vit import BEiT3ViT
from beit3_mm.registry import MODELS

STRIDES = (4, 8, 16, 32)


class InteractionBlock(nn.Module):
    """An injector, some layers of the ViT, and one or more extractors.

    Args:
        injector: Before the layers.
        extractors: After them, one after the other; the second and later
            ones are the extra extractors of the last block.
    """

    def __init__(
        self, injector: Injector, extractors: Sequence[Extractor]
    ) -> None:
        super().__init__()
        self.injector = injector
        self.extractors = nn.ModuleList(extractors)


@MODELS.register_module()
class BEiT3Adapter(BaseModule):
    """A `BEiT3ViT` with the adapter of ViT-Adapter around its layers.

    A spatial prior module gives maps of strides 4 to 32. Before each block of
    ViT layers an injector adds what the ViT's tokens gather from strides 8 to
    32, behind it an extractor lets these gather from the tokens; the last
    block has two extra extractors (ViT-Adapter, arXiv 2205.08534).

    Images are zero-padded to multiples of 32 and the maps cut again. The
    tokens lie at stride 16; a ViT of another patch size sees the image
    resized so that they do.

    Args:
        vit: Arguments of `BEiT3ViT`, or a built one.
        interaction_indexes: First and last ViT layer of each of the four
            blocks; by default they are about equally deep.
        conv_channels: Channels of the spatial prior module's stem.
        num_points: Samples of a head in a map.
        deform_num_heads: Heads of the deformable attentions.
        ffn_ratio: Inner width of the extractors' feed-forward networks, as a
            share of the channels.
        value_ratio: Width of the deformable attentions' values, likewise.
        gamma: Start of the injectors' scale; 0 leaves the ViT as it is at
            first.
        with_cp: Recomputes injectors and extractors in the backward pass; the
            ViT has its own `with_cp`.
        init_cfg: `dict(type='Pretrained', checkpoint=...)` loads the adapter
            part of an official ViT-Adapter file; the ViT has its own.

    Raises:
        ValueError: If the blocks do not divide the layers.

    Example:
        >>> dict(
        ...     type='beit3_mm.BEiT3Adapter',
        ...     vit=dict(
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=4,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...     ),
        ...     conv_channels=8,
        ...     deform_num_heads=3,
        ... )
    """

    def __init__(
        self,
        vit: dict | BEiT3ViT,
        interaction_indexes: Sequence[tuple[int, int]] | None = None,
        conv_channels: int = 64,
        num_points: int = 4,
        deform_num_heads: int = 16,
        ffn_ratio: float = 0.25,
        value_ratio: float = 0.5,
        gamma: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.vit = vit if isinstance(vit, BEiT3ViT) else BEiT3ViT(**vit)
        depth = self.vit.num_layers
        self.interaction_indexes = _blocks(interaction_indexes, depth)
        self.with_cp = with_cp
        dims = self.vit.vision_embedding.proj.out_channels
        drop_path = self.vit.encoder.layers[-1].drop_path.rate

        def attention(num_levels: int) -> DeformableCrossAttention:
            return DeformableCrossAttention(
                dims, deform_num_heads, num_levels, num_points, value_ratio
            )

        def extractor() -> Extractor:
            ffn = ConvFFN(dims, int(dims * ffn_ratio))
            return Extractor(attention(1), ffn, drop_path)

        self.spatial_prior = SpatialPriorModule(conv_channels, dims)
        self.level_embed = nn.Parameter(torch.zeros(3, dims))
        last = len(self.interaction_indexes) - 1
        self.interactions = nn.ModuleList(
            InteractionBlock(
                Injector(attention(3), dims, gamma),
                [extractor() for _ in range(3 if i == last else 1)],
            )
            for i in range(last + 1)
        )
        self.up = nn.ConvTranspose2d(dims, dims, 2, 2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(dims) for _ in STRIDES)
        init_adapter(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encodes images.

        Args:
            image: `(B, 3, H, W)`.

        Returns:
            Four maps `(B, C, ceil(H / s), ceil(W / s))`, s = 4, 8, 16, 32.
        """
        size = image.shape[-2:]
        image = _pad(image, STRIDES[-1])
        priors = self.spatial_prior(image)
        grids = [tuple(prior.shape[-2:]) for prior in priors]
        maps, tokens = self._interact(image, priors[1:], grids)
        maps = [priors[0] + self.up(maps[0]), *maps]
        maps = [
            norm(map_ + _resize(x, grid))
            for norm, map_, x, grid in zip(self.norms, maps, tokens, grids)
        ]
        return tuple(
            map_[..., : math.ceil(size[0] / s), : math.ceil(size[1] / s)]
            for map_, s in zip(maps, STRIDES)
        )

    def _interact(
        self,
        image: Tensor,
        priors: list[Tensor],
        grids: list[tuple[int, int]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Runs the ViT and the adapter beside it.

        Returns:
            The maps of strides 8, 16 and 32, and the ViT's map behind each
            block.
        """
        grid, below = grids[2], grids[1:]
        inject = Geometry.of([grid], below, image.device)
        extract = Geometry.of(below, [grid], image.device)
        levels = torch.cat(
            [
                map_to_tokens(prior) + embed
                for prior, embed in zip(priors, self.level_embed)
            ],
            dim=1,
        )
        # patches of any size then make the grid of stride 16
        size = tuple(side * self.vit.patch_size for side in grid)
        x = self.vit.embed(_resize(image, size))
        num_tokens, outputs = grid[0] * grid[1], []
        for block, layers in zip(self.interactions, self.interaction_indexes):
            cls, tokens = x[:, :-num_tokens], x[:, -num_tokens:]
            tokens = self._run(block.injector, tokens, levels, inject)
            x = torch.cat([cls, tokens], 1) if cls.shape[1] else tokens
            x = self.vit.run_layers(x, grid, *layers)
            tokens = x[:, -num_tokens:]
            for extractor in block.extractors:
                levels = self._run(extractor, levels, tokens, extract, below)
            outputs.append(tokens_to_map(tokens, grid))
        levels = levels.split([height * width for height, width in below], 1)
        maps = [tokens_to_map(x, g) for x, g in zip(levels, below)]
        return maps, outputs

    def _run(self, module: nn.Module, *args: object) -> Tensor:
        return recompute(self.with_cp and self.training, module, *args)

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> tuple[int, int]:
        """Returns the depth of a parameter, for layer decay.

        The ViT's layers decay; the adapter has the depth of what follows
        them, the full rate, as in ViT-Adapter.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: Name of this backbone in it, with the dot.

        Returns:
            The depth and the number of depths, see `BEiT3ViT`.
        """
        inner = f'{prefix}vit.'
        if param_name.startswith(inner):
            return self.vit.get_layer_depth(param_name, inner)
        num_depths = self.vit.num_layers + 2
        return num_depths - 1, num_depths

    def init_weights(self) -> None:
        """Loads the checkpoints of the ViT's and of this `init_cfg`.

        Raises:
            ValueError: If `init_cfg` is of another type, or a file does not
                fit.
        """
        self.vit.init_weights()
        if self.init_cfg is None or self._is_init:
            return
        cfg = self.init_cfg
        if not isinstance(cfg, dict) or cfg.get('type') != 'Pretrained':
            raise ValueError(
                f'init_cfg={self.init_cfg} of BEiT3Adapter must be '
                "dict(type='Pretrained', checkpoint=...)"
            )
        load_adapter(self, self.init_cfg['checkpoint'])
        self._is_init = True


def init_adapter(adapter: BEiT3Adapter) -> None:
    """Initialises all but the ViT as ViT-Adapter does, in place.

    Linear layers: normal, truncated, std 0.02, which is meant for its 768
    channels and more; of fewer channels C, sqrt(768 / C) times that, so that a
    layer changes its input as much. Convolutions: normal, by their fan-out;
    level embedding: normal, std 1. Offsets of the deformable attentions start
    as a ring, their weights at zero.
    """
    linear_std = 0.02 * math.sqrt(max(768 / adapter.level_embed.shape[1], 1))
    nn.init.normal_(adapter.level_embed)
    for name, module in adapter.named_modules():
        if name.startswith('vit.'):
            continue
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=linear_std)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            fan_out = math.prod(module.kernel_size) * module.out_channels
            std = math.sqrt(2 / (fan_out // module.groups))
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in adapter.modules():
        if isinstance(module, DeformableCrossAttention):
            module.attn.init_weights()


def _blocks(
    indexes: Sequence[tuple[int, int]] | None, num_layers: int
) -> list[tuple[int, int]]:
    """Checks the blocks, or divides the layers."""
    count = len(STRIDES)  # each level takes the tokens behind one block
    if indexes is None:
        ends = [num_layers * i // count for i in range(count + 1)]
        indexes = [(a, b - 1) for a, b in itertools.pairwise(ends)]
    layers = [i for first, last in indexes for i in range(first, last + 1)]
    empty = any(first > last for first, last in indexes)
    if empty or len(indexes) != count or layers != list(range(num_layers)):
        raise ValueError(
            f'interaction_indexes={list(indexes)} must divide the layers 0 to '
            f'{num_layers - 1} into {count} blocks, each (first, last)'
        )
    return [tuple(pair) for pair in indexes]


def _pad(image: Tensor, divisor: int) -> Tensor:
    bottom, right = (-side % divisor for side in image.shape[-2:])
    return F.pad(image, (0, right, 0, bottom)) if bottom or right else image


def _resize(map_: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(map_.shape[-2:]) == size:
        return map_
    return F.interpolate(map_, size, mode='bilinear', align_corners=False)
