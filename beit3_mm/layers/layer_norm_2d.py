# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""LayerNorm over the channels of a map."""

from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Normalises the channels at every place of a map `(B, C, H, W)`.

    Args:
        num_features: Channels.
        eps: Added to the variance; 1e-6 in ViTDet's pyramid and heads
            (detectron2, layers/batch_norm.py).
    """

    def __init__(self, num_features: int, eps: float = 1e-6) -> None:
        super().__init__(num_features, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, C, H, W)` to the same shape."""
        # In channels-last memory, which convolutions keep, this copies
        # nothing.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
