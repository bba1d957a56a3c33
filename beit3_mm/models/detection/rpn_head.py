# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from mmdet.models.dense_heads import RPNHead as MMDetRPNHead
from torch import Tensor

from beit3_mm.registry import MODELS


@MODELS.register_module()
class RPNHead(MMDetRPNHead):
    """mmdet's `RPNHead`, whose outputs are float32 under autocast as well.

    mmdet computes boxes in the dtype of the scores, and from 512 pixels on
    bfloat16 knows only every 4th pixel.

    Example:
        >>> dict(
        ...     type='beit3_mm.RPNHead',
        ...     num_convs=2,
        ...     in_channels=256,
        ...     feat_channels=256,
        ... )
    """

    def forward(
        self, x: tuple[Tensor, ...]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Returns for each level objectness (B, A, H, W) and box deltas
        (B, A * 4, H, W), both float32.
        """
        scores, deltas = super().forward(x)
        return [s.float() for s in scores], [d.float() for d in deltas]
