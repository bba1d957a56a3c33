# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Predicts masked words and the visual tokens of masked patches."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from beit3_mm.models.heads.common import init_linears
from beit3_mm.registry import MODELS

# What is predicted, in the order of the logs: layer, and name of its targets.
PARTS = {
    'image': ('visual', 'visual_ids'),
    'text': ('lm', 'target_ids'),
    'pair_image': ('visual', 'visual_ids'),
    'pair_text': ('lm', 'target_ids'),
}
SIZES = {'visual': 'num_visual_codes', 'lm': 'vocab_size'}


@MODELS.register_module()
class MaskedModelingHead(nn.Module):
    """Output layers and losses of masked data modeling (BEiT-3, section 2.2).

    Words and visual tokens have an output layer each, which images and texts
    share with pairs; the layer of the words is not tied to the word table, as
    it is not in the released models. Both see masked positions only.

    Args:
        embed_dims: Channels of the tokens.
        vocab_size: Number of ids of a text.
        num_visual_codes: Number of codes of the visual tokenizer.

    Example:
        >>> dict(
        ...     type='beit3_mm.MaskedModelingHead',
        ...     embed_dims=48,
        ...     vocab_size=64010,
        ... )
    """

    def __init__(
        self, embed_dims: int, vocab_size: int, num_visual_codes: int = 8192
    ) -> None:
        super().__init__()
        self.lm = nn.Linear(embed_dims, vocab_size)
        self.visual = nn.Linear(embed_dims, num_visual_codes)
        init_linears(self)

    def forward(self, tokens: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Maps masked tokens after the final norm to logits.

        Args:
            tokens: For some of `PARTS`, `(n, C)`; a part may have none.

        Returns:
            For each of them `(n, V)`, of codes or of words.

        Raises:
            ValueError: If a part is unknown.
        """
        if unknown := set(tokens) - set(PARTS):
            raise ValueError(
                f'tokens of {sorted(unknown)}; known are {list(PARTS)}'
            )
        return {
            part: getattr(self, layer)(tokens[part])
            for part, (layer, _) in PARTS.items()
            if part in tokens
        }

    def loss(
        self, tokens: Mapping[str, Tensor], target_ids: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compares predictions with what was masked.

        The loss of a part is the mean cross-entropy over its masked tokens of
        all processes, however unequally they are spread. Its value is that
        mean in every process; its gradient is the process's own share, times
        the number of processes, by which DDP divides again.

        Args:
            tokens: As in `forward`; the same parts in every process.
            target_ids: For each part the true ids, `(n,)`.

        Returns:
            For each part `loss_<part>`, and `acc_<part>`, the share of its
            tokens that the likeliest id is right of; scalars.

        Raises:
            ValueError: If ids are out of range, or not as many as tokens.
        """
        zero = next(iter(tokens.values())).new_zeros((), dtype=torch.float32)
        sums = dict.fromkeys(PARTS, zero)
        hits = dict.fromkeys(PARTS, zero)
        for part in tokens:
            _check_targets(self, part, tokens[part], target_ids[part])
        for part, logits in self(tokens).items():
            ids = target_ids[part]
            sums[part] = F.cross_entropy(logits.float(), ids, reduction='sum')
            hits[part] = (logits.detach().argmax(1) == ids).sum().float()
        # Each process sends the same numbers, whichever parts it has.
        counts = [float(len(tokens.get(part, ()))) for part in PARTS]
        totals = torch.stack(
            [
                torch.stack([x.detach() for x in sums.values()]),
                torch.stack(list(hits.values())),
                zero.new_tensor(counts),
            ]
        )
        all_reduce(totals)
        means, accuracies = totals[:2] / totals[2].clamp(min=1)
        losses = {}
        for i, part in enumerate(PARTS):
            if part in tokens:
                share = get_world_size() / totals[2, i].clamp(min=1)
                own = sums[part] * share
                losses[f'loss_{part}'] = own + (means[i] - own).detach()
                losses[f'acc_{part}'] = accuracies[i]
        return losses


def _check_targets(
    head: MaskedModelingHead, part: str, tokens: Tensor, ids: Tensor
) -> None:
    layer, name = PARTS[part]
    if ids.shape != tokens.shape[:1]:
        raise ValueError(
            f'{name} of shape {tuple(ids.shape)} do not fit the '
            f'{len(tokens)} masked tokens of {part}'
        )
    size = getattr(head, layer).out_features
    wrong = ids[(ids < 0) | (ids >= size)].unique().tolist()
    if wrong:
        raise ValueError(
            f'{name} of {part} hold {wrong[:5]}, but the head knows 0 to '
            f'{size - 1}: {SIZES[layer]} must be that of what made the ids'
        )
