# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Visual question answering as classification among frequent answers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from beit3_mm.layers.feed_forward import LAYER_NORM_EPS
from beit3_mm.models.heads.common import (
    init_linears,
    require_fields,
    require_in_range,
)
from beit3_mm.registry import MODELS


class Pooler(nn.Module):
    """Makes one vector of a sequence: of its first token.

    Args:
        embed_dims: Channels.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims, LAYER_NORM_EPS)
        self.dense = nn.Linear(embed_dims, embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, L, C)` to `(B, C)`."""
        return self.dense(self.norm(x[:, 0])).tanh()


@MODELS.register_module()
class VQAHead(nn.Module):
    """Tells the answer to a question about an image.

    A classifier on the pooled CLS token, trained with soft scores of the
    answers and a binary cross-entropy that is summed over the answers
    (BEiT-3, section 3.1; unilm/beit3, modeling_finetune.py). The released
    models have an encoder without final norm in front of it.

    Args:
        embed_dims: Channels of the tokens.
        num_answers: Number of answers; 3129 for VQAv2.

    Example:
        >>> dict(type='beit3_mm.VQAHead', embed_dims=768, num_answers=3129)
    """

    def __init__(self, embed_dims: int, num_answers: int) -> None:
        super().__init__()
        self.num_answers = num_answers
        self.pooler = Pooler(embed_dims)
        self.classifier = nn.Sequential(
            nn.Linear(embed_dims, 2 * embed_dims),
            nn.LayerNorm(2 * embed_dims, LAYER_NORM_EPS),
            nn.GELU(),
            nn.Linear(2 * embed_dims, num_answers),
        )
        init_linears(self)

    def forward(self, vision: Tensor, language: Tensor) -> Tensor:
        """Computes logits.

        Args:
            vision: Fused tokens of the images `(B, 1 + N, C)`, CLS token
                first; the others may be missing.
            language: Fused tokens of the questions `(B, L, C)`; not used,
                the CLS token has attended to them.

        Returns:
            `(B, num_answers)`.

        Raises:
            ValueError: If there are several images of a question.
        """
        if vision.ndim != 3:
            raise ValueError(
                f'vision tokens of shape {tuple(vision.shape)} must be '
                '(B, L, C): VQAHead takes one image per question'
            )
        return self.classifier(self.pooler(vision))

    def loss(
        self,
        vision: Tensor,
        language: Tensor,
        data_samples: Sequence[BaseDataElement],
    ) -> dict[str, Tensor]:
        """Compares the logits with the scores of the answers.

        Args:
            vision: As in `forward`.
            language: As in `forward`.
            data_samples: B samples with `gt_labels` (K,) int64 and
                `gt_scores` (K,) in [0, 1]; other answers score 0, and a
                sample may have none that scores.

        Returns:
            `loss`, a scalar.

        Raises:
            ValueError: If labels are missing or out of range, or do not fit
                the scores.
        """
        logits = self(vision, language).float()
        target = self._target(data_samples, logits.device)
        loss = F.binary_cross_entropy_with_logits(
            logits, target, reduction='sum'
        )
        return {'loss': loss / len(logits)}

    def predict(
        self,
        vision: Tensor,
        language: Tensor,
        data_samples: Sequence[BaseDataElement],
    ) -> Sequence[BaseDataElement]:
        """Answers the questions.

        Args:
            vision: As in `forward`.
            language: As in `forward`.
            data_samples: B samples.

        Returns:
            The samples, with `pred_scores` (num_answers,), each in [0, 1],
            and `pred_label`, a scalar.
        """
        logits = self(vision, language).float()
        for sample, row in zip(data_samples, logits, strict=True):
            sample.pred_scores = row.sigmoid()
            sample.pred_label = row.argmax()  # scores may round to 1
        return data_samples

    def _target(
        self, data_samples: Sequence[BaseDataElement], device: torch.device
    ) -> Tensor:
        """Returns the scores of all answers `(B, num_answers)`."""
        require_fields(data_samples, 'gt_labels', 'gt_scores')
        for sample in data_samples:
            if sample.gt_labels.shape != sample.gt_scores.shape:
                raise ValueError(
                    f'gt_labels {sample.gt_labels.tolist()} and gt_scores '
                    f'{sample.gt_scores.tolist()} of the sample '
                    f'{sample.metainfo} must be as many'
                )
        counts = torch.tensor([len(x.gt_labels) for x in data_samples])
        rows = torch.arange(len(counts)).repeat_interleave(counts).to(device)
        # .long(): a list of no labels may have become a float tensor
        labels = torch.cat([x.gt_labels.long() for x in data_samples])
        scores = torch.cat([x.gt_scores for x in data_samples])
        require_in_range(labels, self.num_answers, 'gt_labels')
        target = torch.zeros(len(counts), self.num_answers, device=device)
        target[rows, labels.to(device)] = scores.to(target)
        return target
