# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Predicts the masked words of a caption."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from beit3_mm.models.heads.common import init_linears
from beit3_mm.registry import MODELS

# Tokens that MKL multiplies faster with the large matrix in front: six take
# 15 ms instead of 35, three 7 instead of 49 (768 x 64,010, 2 cores)
CPU_FEW_TOKENS = 8


@MODELS.register_module()
class CaptionHead(nn.Module):
    """A language model's output layer, and its loss (unilm/beit3, utils.py).

    The loss of a token is the KL divergence of the prediction from a target
    that gives the true id 1 - label_smoothing, and all others together the
    rest. After some training the tokens that are predicted worst are left
    out, as their captions may be wrong. As in the official code, each process
    picks the worst of its own tokens.

    The head counts no steps of training: `loss` is told the iteration, which
    a resumed run continues and a run that starts from these weights begins
    anew, as no number in a checkpoint could.

    Args:
        embed_dims: Channels of the tokens.
        vocab_size: Number of ids.
        label_smoothing: Share of the target for false ids.
        drop_worst_ratio: Share of the tokens that is left out.
        drop_worst_after: Iterations of training that keep all tokens; with
            accumulated gradients, several are a step of the optimizer.

    Raises:
        ValueError: If a share is out of range.

    Example:
        >>> dict(type='beit3_mm.CaptionHead', embed_dims=48, vocab_size=64010)
    """

    def __init__(
        self,
        embed_dims: int,
        vocab_size: int,
        label_smoothing: float = 0.1,
        drop_worst_ratio: float = 0.2,
        drop_worst_after: int = 12000,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1 - 1 / vocab_size:
            raise ValueError(
                f'{label_smoothing=} must be in [0, 1 - 1 / {vocab_size}): '
                'the true id must stay the likeliest'
            )
        if not 0 <= drop_worst_ratio < 1:
            raise ValueError(f'{drop_worst_ratio=} must be in [0, 1)')
        self.label_smoothing = label_smoothing
        self.drop_worst_ratio = drop_worst_ratio
        self.drop_worst_after = drop_worst_after
        self.lm = nn.Linear(embed_dims, vocab_size)
        init_linears(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """Maps tokens after the final norm `(..., C)` to logits `(..., V)`."""
        shape = tokens.shape[:-1]
        number = shape.numel()
        if tokens.device.type != 'cpu' or number > CPU_FEW_TOKENS:
            return self.lm(tokens)
        columns = tokens.reshape(number, tokens.shape[-1]).T
        logits = (self.lm.weight @ columns).T + self.lm.bias
        return logits.view(*shape, self.lm.out_features)

    def loss(
        self, tokens: Tensor, target_ids: Tensor, iteration: int = 0
    ) -> dict[str, Tensor]:
        """Compares the predictions of masked tokens with what they were.

        The loss is the mean over the kept tokens of all processes, however
        unequally they are spread: each divides by the common count, and
        multiplies by the number of processes, by which DDP divides again.

        Args:
            tokens: Those to be predicted, and no others, `(n, C)`; a process
                may have none.
            target_ids: Their true ids, `(n,)`.
            iteration: Iterations of training that have been done.

        Returns:
            `loss`, a scalar.

        Raises:
            ValueError: If there are not as many ids as tokens.
        """
        if target_ids.shape != tokens.shape[:1]:
            raise ValueError(
                f'target_ids of shape {tuple(target_ids.shape)} do not fit '
                f'{len(tokens)} tokens'
            )
        losses = self._token_losses(self(tokens).float(), target_ids)
        if iteration >= self.drop_worst_after and len(losses):
            number = int(len(losses) * (1 - self.drop_worst_ratio))
            losses = losses.topk(max(number, 1), largest=False).values
        count = losses.new_tensor(len(losses))
        all_reduce(count)
        share = get_world_size() / count.clamp(min=1)
        return {'loss': losses.sum() * share}

    def _token_losses(self, logits: Tensor, target_ids: Tensor) -> Tensor:
        # F.cross_entropy smooths over all ids, the true one included: its
        # share of this size gives each false id smoothing / (V - 1).
        smoothing, num_ids = self.label_smoothing, logits.shape[1]
        losses = F.cross_entropy(
            logits,
            target_ids,
            reduction='none',
            label_smoothing=smoothing * num_ids / (num_ids - 1),
        )
        if smoothing == 0:
            return losses
        # The target's own entropy
        return (
            losses
            + (1 - smoothing) * math.log(1 - smoothing)
            + smoothing * math.log(smoothing / (num_ids - 1))
        )

    def predict(
        self, ids: Tensor, data_samples: Sequence[BaseDataElement]
    ) -> Sequence[BaseDataElement]:
        """Sets the captions `(B, T)` as `pred_ids` of B samples, special ids
        still inside.
        """
        for sample, row in zip(data_samples, ids, strict=True):
            sample.pred_ids = row
        return data_samples
