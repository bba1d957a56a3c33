# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Masked data modeling without any saving.

Texts are padded to the longest that there may be, attention weights are
tensors of their own, as in torchscale, and both output layers see every
token, masked or not.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from beit3_mm.models.beit3 import BEiT3
from beit3_mm.models.pretraining import MaskedDataModeling
from benchmarks.plain import encode

IGNORED = -100  # of F.cross_entropy
Batch = Mapping[str, Tensor | None]


def losses(
    model: MaskedDataModeling,
    inputs: Mapping[str, Batch],
    longest: Mapping[str, int],
) -> dict[str, Tensor]:
    """Returns the losses of a batch, as `MaskedDataModeling` names them.

    Args:
        model: No path of it may be dropped.
        inputs: What it takes, with `visual_ids`.
        longest: For each kind with texts, what they are padded to.
    """
    found = {}
    for kind, batch in inputs.items():
        prefix = 'loss_pair_' if kind == 'pair' else 'loss_'
        if 'text_ids' in batch:
            batch = {**batch, **_pad(batch, longest[kind])}
        x, num_vision = _encode(model.backbone, batch)
        if num_vision:
            found[f'{prefix}image'] = _cross_entropy(
                model.head.visual(x[:, 1:num_vision]),
                batch['visual_ids'],
                batch['image_mask'],
            )
        if 'text_ids' in batch:
            found[f'{prefix}text'] = _cross_entropy(
                model.head.lm(x[:, num_vision:]),
                batch['target_ids'],
                batch['text_mask'],
            )
    return found


def _pad(batch: Batch, length: int) -> dict[str, Tensor]:
    missing = 0, length - batch['text_ids'].shape[1]
    padding = batch['text_padding_mask']
    if padding is None:
        padding = torch.zeros_like(batch['text_mask'])
    return {
        'text_ids': F.pad(batch['text_ids'], missing, value=1),
        'target_ids': F.pad(batch['target_ids'], missing, value=1),
        'text_mask': F.pad(batch['text_mask'], missing, value=False),
        'text_padding_mask': F.pad(padding, missing, value=True),
    }


def _encode(backbone: BEiT3, batch: Batch) -> tuple[Tensor, int]:
    """Returns the joint sequence, and how many of it are vision tokens."""
    parts, num_vision, padding = [], 0, None
    if 'image' in batch:
        vision = backbone.vision_embedding(batch['image'], batch['image_mask'])
        parts, num_vision = [vision], vision.shape[1]
    if 'text_ids' in batch:
        padding = batch['text_padding_mask']
        parts.append(backbone.text_embedding(batch['text_ids'], padding))
        padding = F.pad(padding, (num_vision, 0), value=False)
    x = torch.cat(parts, 1)
    return encode(backbone.encoder, x, num_vision, padding), num_vision


def _cross_entropy(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    targets = ids.masked_fill(~mask, IGNORED)
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED
    )
