# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What heads share: initialisation, and the reading and writing of samples."""

from collections.abc import Sequence

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

INIT_STD = 0.02  # unilm/beit3, modeling_utils.py


def init_linears(head: nn.Module) -> None:
    """Draws weights of linear layers around 0, biases are 0."""
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
            nn.init.zeros_(module.bias)


def require_fields(
    data_samples: Sequence[BaseDataElement], *fields: str
) -> None:
    """Raises a ValueError if a sample lacks one of the fields."""
    for sample in data_samples:
        missing = [field for field in fields if field not in sample]
        if missing:
            raise ValueError(
                f'the loss needs {missing} of the sample {sample.metainfo}; '
                'files without annotations serve for predictions only'
            )


def require_in_range(labels: Tensor, num_classes: int, field: str) -> None:
    """Raises a ValueError if a label is not in `0..num_classes - 1`."""
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(
            f'{field} {wrong.tolist()} out of range: the head tells '
            f'{num_classes} classes apart, 0 to {num_classes - 1}; its size '
            'and the labels of the data must come from the same list'
        )


def stack_labels(
    data_samples: Sequence[BaseDataElement],
    num_classes: int,
    device: torch.device,
) -> Tensor:
    """Returns the `gt_label` of each sample.

    Args:
        data_samples: B samples; a label is a scalar, or `(1,)` as
            mmpretrain's.
        num_classes: Number of classes.
        device: Where the labels are needed.

    Returns:
        `(B,)` int64.

    Raises:
        ValueError: If a sample has no label, or one that is out of range.
    """
    require_fields(data_samples, 'gt_label')
    labels = [sample.gt_label.reshape(-1) for sample in data_samples]
    for sample, label in zip(data_samples, labels):
        if len(label) != 1:
            raise ValueError(
                f'gt_label {label.tolist()} of the sample {sample.metainfo} '
                'must be one label'
            )
    labels = torch.cat(labels).to(device)
    require_in_range(labels, num_classes, 'gt_label')
    return labels
