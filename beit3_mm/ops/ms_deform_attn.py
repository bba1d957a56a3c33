# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Multi-scale deformable attention as a weighted gather.

B batch, S tokens of all levels, Q queries, H heads, D head dim, L levels,
P points.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def multi_scale_deformable_attention(
    value: Tensor,
    spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sums values at sampled places, bilinearly and with zeros outside.

    Each point reads the four tokens around it. All of a query's corners, with
    the products of bilinear and attention weights, are one bag of an
    embedding bag, so that no sampled value is ever stored. Arguments and
    result are those of `mmcv.ops.multi_scale_deformable_attn_pytorch`
    (Deformable DETR, arXiv 2010.04159). Works in float32 where `value` has
    less precision.

    Args:
        value: (B, S, H, D), the levels one after the other, row by row.
        spatial_shapes: (L, 2) integers, (height, width) of each level.
        sampling_locations: (B, Q, H, L, P, 2), (x, y) in [0, 1] over a level.
        attention_weights: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D) in the dtype of `value`.

    Raises:
        ValueError: If the levels do not hold S tokens together.
    """
    batch, tokens, heads, dims = value.shape
    if int(spatial_shapes.prod(1).sum()) != tokens:
        raise ValueError(
            f'levels of {spatial_shapes.tolist()} do not hold the {tokens} '
            f'tokens of value {tuple(value.shape)}'
        )
    dtype = torch.promote_types(value.dtype, torch.float32)
    index, weight = _corners(
        spatial_shapes, sampling_locations.to(dtype), attention_weights
    )
    # Row (b * S + token) * H + h of the table is the value of a head.
    device = value.device
    first = torch.arange(batch, device=device).mul_(tokens)
    index = (index + first.view(-1, 1, 1, 1)) * heads
    index += torch.arange(heads, device=device).view(-1, 1)
    with torch.autocast(device.type, enabled=False):
        out = F.embedding_bag(
            index.flatten(0, 2),
            value.to(dtype).reshape(-1, dims),
            mode='sum',
            per_sample_weights=weight.flatten(0, 2),
        )
    return out.view(batch, -1, heads * dims).to(value.dtype)


def _corners(
    spatial_shapes: Tensor, locations: Tensor, attention_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns token and weight of each corner of each point.

    Both are (B, Q, H, L * P * 4); a corner outside its level has weight 0.
    """
    height, width = spatial_shapes.unbind(1)
    start = (height * width).cumsum(0) - height * width
    # (L,) -> (L, 1, 1), to meet (..., L, P, 2)
    height, width, start = (x.view(-1, 1, 1) for x in (height, width, start))
    column, column_weight = _neighbours(locations[..., 0], width)
    row, row_weight = _neighbours(locations[..., 1], height)
    row = row * width + start
    row_weight = row_weight * attention_weights.to(locations.dtype)[..., None]
    # (B, Q, H, L, P, 2) twice -> (B, Q, H, L, P, 2, 2)
    index = row.unsqueeze(-1) + column.unsqueeze(-2)
    weight = row_weight.unsqueeze(-1) * column_weight.unsqueeze(-2)
    return index.flatten(3), weight.flatten(3)


def _neighbours(location: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the two cells beside a place on an axis, and their weights.

    Args:
        location: (B, Q, H, L, P) in [0, 1] over the axis.
        size: (L, 1, 1), cells of the axis.

    Returns:
        Cells and weights, (B, Q, H, L, P, 2).
    """
    place = location.unsqueeze(-1) * size - 0.5  # cell centres at integers
    low = place.detach().floor()
    high_weight = place - low
    weight = torch.cat([1 - high_weight, high_weight], -1)
    # Far places must not overflow.
    low = torch.minimum(low.clamp_(min=-2), size.to(low.dtype)).long()
    cell = torch.cat([low, low + 1], -1)
    inside = (cell >= 0) & (cell < size)
    return torch.where(inside, cell, 0), torch.where(inside, weight, 0)
