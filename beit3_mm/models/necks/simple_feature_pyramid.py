# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The simple feature pyramid of ViTDet."""

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from beit3_mm.layers.layer_norm_2d import LayerNorm2d
from beit3_mm.registry import MODELS

MODELS.register_module(module=LayerNorm2d)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Builds a pyramid from the last map of a plain backbone.

    Strides 4, 8, 16, 32 come from a map of stride 16 by deconvolution and max
    pooling, each followed by a 1x1 and a 3x3 convolution with LayerNorm; the
    coarsest level is subsampled once more (ViTDet, arXiv 2203.16527, section
    3 and appendix A.2).

    Args:
        in_channels: Channels of the backbone's map.
        out_channels: Channels of every level.

    Example:
        >>> dict(
        ...     type='beit3_mm.SimpleFeaturePyramid',
        ...     in_channels=96,
        ...     out_channels=32,
        ... )
    """

    def __init__(self, in_channels: int, out_channels: int = 256) -> None:
        super().__init__()
        half, quarter = in_channels // 2, in_channels // 4
        scales = [
            (
                quarter,
                nn.Sequential(
                    nn.ConvTranspose2d(in_channels, half, 2, 2),
                    LayerNorm2d(half),
                    nn.GELU(),
                    nn.ConvTranspose2d(half, quarter, 2, 2),
                ),
            ),
            (half, nn.ConvTranspose2d(in_channels, half, 2, 2)),
            (in_channels, nn.Identity()),
            (in_channels, nn.MaxPool2d(2, 2)),
        ]
        self.scales = nn.ModuleList(scale for _, scale in scales)
        self.convs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, bias=False),
                LayerNorm2d(out_channels),
                nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
                LayerNorm2d(out_channels),
            )
            for channels, _ in scales
        )

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Builds the levels.

        Args:
            inputs: Maps of the backbone; the last one, `(B, C, H, W)` of
                stride 16, is used.

        Returns:
            Five maps `(B, out_channels, h, w)` of strides 4, 8, 16, 32, 64;
            float32 under autocast as well, since mmdet gives the boxes of its
            RoIs the dtype of the maps.
        """
        x = inputs[-1]
        levels = [
            conv(scale(x)).float()
            for scale, conv in zip(self.scales, self.convs)
        ]
        levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return tuple(levels)
