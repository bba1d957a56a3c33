# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Image classification with a linear classifier, inside mmpretrain."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from beit3_mm.layers.feed_forward import LAYER_NORM_EPS
from beit3_mm.models.heads.common import init_linears, stack_labels
from beit3_mm.registry import MODELS

LAST_INIT_SCALE = 0.001  # unilm/beit3, modeling_finetune.py


@MODELS.register_module()
class ClassificationHead(nn.Module):
    """A LayerNorm and a linear classifier on the mean of the patch tokens.

    The released models' (unilm/beit3, modeling_finetune.py), with the
    interface of mmpretrain's heads for its `ImageClassifier`: mmpretrain has
    no head or neck with a LayerNorm of pooled features. The encoder in front
    of it has no final norm.

    Args:
        embed_dims: Channels.
        num_classes: Number of classes.
        label_smoothing: Share of the target that all classes share, also
            where targets are mixed.

    Example:
        >>> dict(
        ...     type='mmpretrain.ImageClassifier',
        ...     backbone=dict(
        ...         type='beit3_mm.BEiT3ViT',
        ...         img_size=32,
        ...         patch_size=16,
        ...         embed_dims=48,
        ...         num_layers=2,
        ...         num_heads=3,
        ...         feedforward_channels=96,
        ...         with_cls_token=True,
        ...     ),
        ...     neck=dict(type='mmpretrain.GlobalAveragePooling'),
        ...     head=dict(
        ...         type='beit3_mm.ClassificationHead',
        ...         embed_dims=48,
        ...         num_classes=1000,
        ...         label_smoothing=0.1,
        ...     ),
        ... )
    """

    def __init__(
        self, embed_dims: int, num_classes: int, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.norm = nn.LayerNorm(embed_dims, LAYER_NORM_EPS)
        self.fc = nn.Linear(embed_dims, num_classes)
        init_linears(self)
        with torch.no_grad():
            self.fc.weight.mul_(LAST_INIT_SCALE)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Normalises the last of the pooled features `(B, C)`."""
        return self.norm(feats[-1])

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Maps pooled features, of which the last `(B, C)` counts, to logits
        `(B, num_classes)`.
        """
        return self.fc(self.pre_logits(feats))

    def loss(
        self,
        feats: tuple[Tensor, ...],
        data_samples: Sequence[BaseDataElement],
    ) -> dict[str, Tensor]:
        """Returns the cross-entropy.

        Args:
            feats: As in `forward`.
            data_samples: B samples with `gt_score` (num_classes,), as mixup
                and cutmix leave it behind, or else `gt_label`.

        Returns:
            `loss`, a scalar.

        Raises:
            ValueError: If a label is missing or out of range, or scores are
                not of `num_classes` classes.
        """
        logits = self(feats).float()
        if 'gt_score' in data_samples[0]:
            target = torch.stack([x.gt_score for x in data_samples])
            if target.shape != logits.shape:
                raise ValueError(
                    f'gt_score of {target.shape[-1]} classes does not fit '
                    f'num_classes={self.num_classes} of the head; set '
                    'num_classes of the data_preprocessor'
                )
            target = target.to(logits)
        else:
            target = stack_labels(
                data_samples, self.num_classes, logits.device
            )
        loss = F.cross_entropy(
            logits, target, label_smoothing=self.label_smoothing
        )
        return {'loss': loss}

    def predict(
        self,
        feats: tuple[Tensor, ...],
        data_samples: Sequence[BaseDataElement] | None = None,
    ) -> Sequence[BaseDataElement]:
        """Classifies images.

        Args:
            feats: As in `forward`.
            data_samples: B samples; None makes new ones.

        Returns:
            The samples, with `pred_score` (num_classes,), which sum up to 1,
            and `pred_label` (1,), as mmpretrain's metrics read them.
        """
        scores = self(feats).float().softmax(-1)
        if data_samples is None:
            data_samples = [BaseDataElement() for _ in scores]
        for sample, row in zip(data_samples, scores, strict=True):
            sample.pred_score = row
            sample.pred_label = row.argmax(0, keepdim=True)
        return data_samples
