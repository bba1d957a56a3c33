# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Multi-scale deformable attention as a weighted gather.

B batch, S tokens of all levels, Q queries, H heads, D head dim, L levels,
P points.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import (
    Function,
    FunctionCtx,
    once_differentiable,
)


def multi_scale_deformable_attention(
    value: Tensor,
    spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sums values at sampled places, bilinearly and with zeros outside.

    Each point reads the four tokens around it. All of a query's corners, with
    the products of bilinear and attention weights, are one bag of an
    embedding bag, so that no sampled value is ever stored; a border of zeros
    around each level stands for the outside. Arguments and
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
    with torch.autocast(value.device.type, enabled=False):
        table = _add_borders(value.to(dtype), spatial_shapes)
        index, weight = _corners(
            spatial_shapes,
            sampling_locations.to(dtype),
            attention_weights.to(dtype),
        )
        # Row (b * S' + token) * H + h of the table is the value of a head.
        options = {'device': value.device, 'dtype': index.dtype}
        first = torch.arange(batch, **options) * table.shape[1] * heads
        head = torch.arange(heads, **options)
        rows = (first[:, None] + head).view(batch, 1, heads, 1)
        out = _WeightedGather.apply(
            table.reshape(-1, dims),
            (index * heads + rows).flatten(0, 2),
            weight.flatten(0, 2),
        )
    return out.view(batch, -1, heads * dims).to(value.dtype)


class _WeightedGather(Function):
    """Sums rows of a table with weights, as an embedding bag.

    torch's own gradient of the table takes three times as long as this one,
    the same gather the other way round: each row sums its bags.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx, table: Tensor, index: Tensor, weight: Tensor
    ) -> Tensor:
        """Maps rows (R, D), indices and weights (N, K) to (N, D)."""
        ctx.save_for_backward(table, index, weight)
        return F.embedding_bag(
            index, table, mode='sum', per_sample_weights=weight
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of table and weights."""
        table, index, weight = ctx.saved_tensors
        grad = grad.contiguous()
        flat = index.flatten()
        order = flat.argsort()
        counts = flat.bincount(minlength=len(table))
        grad_table = F.embedding_bag(
            order // index.shape[1],
            grad,
            counts.cumsum(0) - counts,
            mode='sum',
            per_sample_weights=weight.flatten()[order],
        )
        with torch.enable_grad():
            leaf = weight.detach().requires_grad_()
            out = F.embedding_bag(
                index, table.detach(), mode='sum', per_sample_weights=leaf
            )
        return grad_table, None, torch.autograd.grad(out, leaf, grad)[0]


def _add_borders(value: Tensor, spatial_shapes: Tensor) -> Tensor:
    """Puts a border of zeros around each level, so that none has an edge."""
    levels, start = [], 0
    for height, width in spatial_shapes.tolist():
        level = value[:, start : start + height * width]
        start += height * width
        level = level.flatten(2).unflatten(1, (height, width))
        levels.append(F.pad(level, (0, 0, 1, 1, 1, 1)).flatten(1, 2))
    return torch.cat(levels, 1).unflatten(2, value.shape[2:])


def _corners(
    spatial_shapes: Tensor, locations: Tensor, attention_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns bordered token and weight of each corner of each point.

    Both are (B, Q, H, L * P * 4), the tokens int32.
    """
    size = spatial_shapes.flip(1)[:, None]  # (L, 1, 2): width, height
    # Cell centres at integers. Where a place is farther outside than a cell,
    # both of its neighbours are border, or have the weight 0.
    place = locations * size - 0.5
    place = torch.minimum(place.clamp(min=-1), size.to(place.dtype))
    low = torch.minimum(place.detach().floor(), (size - 1).to(place.dtype))
    x, y = (place - low).unbind(-1)  # (B, Q, H, L, P)
    right, bottom = x * attention_weights, y * attention_weights
    both = right * y
    weight = torch.stack(
        [attention_weights - right - bottom + both]
        + [right - both, bottom - both, both],
        -1,
    )
    row_length = (size[..., 0] + 2).int()  # (L, 1)
    area = (spatial_shapes + 2).prod(1)
    start = (area.cumsum(0) - area).int()[:, None]
    column, row = (low.int() + 1).unbind(-1)
    token = row * row_length + column + start
    zero = torch.zeros_like(row_length)
    step = torch.stack([zero, zero + 1, row_length, row_length + 1], -1)
    return (token[..., None] + step).flatten(3), weight.flatten(3)
