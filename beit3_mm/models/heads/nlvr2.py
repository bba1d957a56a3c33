# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Whether a statement about two images is true."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from beit3_mm.layers.feed_forward import LAYER_NORM_EPS
from beit3_mm.models.heads.common import init_linears, stack_labels
from beit3_mm.registry import MODELS

NUM_IMAGES, NUM_CLASSES = 2, 2
LAST_INIT_SCALE = 0.001  # unilm/beit3, modeling_finetune.py


@MODELS.register_module()
class NLVR2Head(nn.Module):
    """Tells from two image-text pairs whether their text is true.

    A classifier on the first tokens of vision 1, language 1, vision 2 and
    language 2, put together (BEiT-3, section 3.1; unilm/beit3,
    modeling_finetune.py). Class 1 is true.

    Args:
        embed_dims: Channels of the tokens.

    Example:
        >>> dict(type='beit3_mm.NLVR2Head', embed_dims=768)
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        inner_dims = 2 * embed_dims
        self.norm1 = nn.LayerNorm(4 * embed_dims, LAYER_NORM_EPS)
        self.dense1 = nn.Linear(4 * embed_dims, inner_dims)
        self.norm2 = nn.LayerNorm(inner_dims, LAYER_NORM_EPS)
        self.dense2 = nn.Linear(inner_dims, NUM_CLASSES)
        init_linears(self)
        with torch.no_grad():
            self.dense2.weight.mul_(LAST_INIT_SCALE)

    def forward(self, vision: Tensor, language: Tensor) -> Tensor:
        """Computes logits.

        Args:
            vision: Tokens of both images, each fused with the text,
                `(B, 2, 1 + N, C)`, CLS token first; the others may be
                missing.
            language: Tokens of the text, fused with either image,
                `(B, 2, L, C)`, `<s>` first; likewise.

        Returns:
            `(B, 2)`: false, true.

        Raises:
            ValueError: If there are not two images of a text.
        """
        if vision.ndim != 4 or vision.shape[1] != NUM_IMAGES:
            raise ValueError(
                f'vision tokens of shape {tuple(vision.shape)} must be '
                '(B, 2, L, C): NLVR2Head takes two images per text'
            )
        # (B, image, modality, C)
        x = torch.stack([vision[:, :, 0], language[:, :, 0]], dim=2)
        x = self.dense1(self.norm1(x.flatten(1)))
        return self.dense2(F.gelu(self.norm2(x)))

    def loss(
        self,
        vision: Tensor,
        language: Tensor,
        data_samples: Sequence[BaseDataElement],
    ) -> dict[str, Tensor]:
        """Returns the cross-entropy.

        Args:
            vision: As in `forward`.
            language: As in `forward`.
            data_samples: B samples with `gt_label`, 0 or 1.

        Returns:
            `loss`, a scalar.

        Raises:
            ValueError: If a label is missing or out of range.
        """
        logits = self(vision, language).float()
        labels = stack_labels(data_samples, NUM_CLASSES, logits.device)
        return {'loss': F.cross_entropy(logits, labels)}

    def predict(
        self,
        vision: Tensor,
        language: Tensor,
        data_samples: Sequence[BaseDataElement],
    ) -> Sequence[BaseDataElement]:
        """Judges the texts.

        Args:
            vision: As in `forward`.
            language: As in `forward`.
            data_samples: B samples.

        Returns:
            The samples, with `pred_scores` (2,), which sum up to 1, and
            `pred_label`, a scalar.
        """
        scores = self(vision, language).float().softmax(-1)
        for sample, row in zip(data_samples, scores, strict=True):
            sample.pred_scores = row
            sample.pred_label = row.argmax()
        return data_samples
