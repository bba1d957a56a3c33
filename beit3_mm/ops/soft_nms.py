# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Soft-NMS: overlapping boxes lose score instead of being removed."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

# N boxes, G classes, M boxes of the largest class, K picks, R rows (classes)

_GONE = float('-inf')  # the score of a picked box, a dropped one or a gap

# (R, 5, M) planes, (R, M) scores, (R,) picked slots -> (R, M) scores
_Decay = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def batched_soft_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    *,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = 'linear',
    max_num: int = -1,
) -> tuple[Tensor, Tensor]:
    """Runs soft-NMS in each class and returns the best boxes of all classes.

    Each pick takes the highest current score and multiplies the scores of
    its class' remaining boxes by a weight: 1 - iou ('linear') or 0 ('naive')
    where iou reaches the threshold, or exp(-iou^2 / sigma) ('gaussian').
    Scores only decay, so the first `max_num` picks over all classes are the
    head of the complete result. Equal scores go by label, then input order.
    Source: arXiv 1704.04503; threshold and lower bound as in mmcv.ops.

    Args:
        boxes: (N, 4), xyxy in pixels.
        scores: (N,).
        labels: (N,), integers.
        iou_threshold: the IoU from which on boxes overlap; not for
            'gaussian'.
        sigma: width of 'gaussian'.
        min_score: boxes whose current score is lower are dropped.
        method: 'linear', 'gaussian' or 'naive'.
        max_num: the largest number of boxes to keep; -1 keeps all.

    Returns:
        dets: (K, 5), boxes with decayed scores, best first; float32 if the
            input has less precision.
        keep: (K,), their indices in the input.

    Raises:
        ValueError: for a wrong shape or an argument out of its range.
    """
    _check(boxes, scores, labels, sigma, method, max_num)
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    boxes, scores = boxes.to(dtype), scores.to(dtype)
    weight = partial(_WEIGHTS[method], threshold=iou_threshold, sigma=sigma)
    decay = partial(_decay, weight=weight, min_score=min_score)
    # A box that starts below the bound is never picked and changes nothing.
    index = (scores >= min_score).nonzero().squeeze(1)
    dets, keep = _pick(
        boxes[index], scores[index], labels[index], decay, max_num
    )
    return dets, index[keep]


def _pick(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    decay: _Decay,
    max_num: int,
) -> tuple[Tensor, Tensor]:
    if len(labels) == 0:
        return boxes.new_zeros(0, 5), labels.new_zeros(0, dtype=torch.long)
    slots = _group_by_class(labels)  # (G, M)
    start = scores[slots].masked_fill(slots < 0, _GONE)
    planes = _planes(boxes[slots])  # some box in a gap, which is never picked
    if max_num < 0:
        slot, score = _pick_per_class(planes, start, decay)
    else:
        num = min(max_num, len(labels))
        slot, score = _pick_globally(planes, start, decay, num)
    found = score > _GONE
    keep = slots.flatten()[slot[found]]
    return torch.cat([boxes[keep], score[found][:, None]], 1), keep


def _pick_globally(
    planes: Tensor, scores: Tensor, decay: _Decay, num: int
) -> tuple[Tensor, Tensor]:
    """Takes the best of all classes `num` times; touches only its class.

    Returns:
        Flat slots (num,) and scores (num,), in the order of the picks.
    """
    width = scores.shape[1]
    best, slot = scores.max(1)  # (G,) of each class
    slots, picked = [], []
    for _ in range(num):
        # index_select: planes[row] wakes all threads even for one row.
        row = best.argmax(0, keepdim=True)  # (1,)
        row_slot = slot.index_select(0, row)
        picked.append(best.index_select(0, row))
        slots.append(row * width + row_slot)
        after = decay(
            planes.index_select(0, row), scores.index_select(0, row), row_slot
        )
        row_best, row_slot = after.max(1)
        scores.index_copy_(0, row, after)
        best.index_copy_(0, row, row_best)
        slot.index_copy_(0, row, row_slot)
    return torch.cat(slots), torch.cat(picked)


def _pick_per_class(
    planes: Tensor, scores: Tensor, decay: _Decay
) -> tuple[Tensor, Tensor]:
    """Takes the best of every class at once until all classes are empty.

    Returns:
        Flat slots (G*P,) and scores (G*P,), best first, for P <= M steps.
    """
    classes, width = scores.shape
    offset = width * torch.arange(classes, device=scores.device)
    slots, picked = [], []
    for step in range(width):
        best, slot = scores.max(1)
        # Rarely, because the comparison waits for the GPU.
        if step % 64 == 63 and bool((best == _GONE).all()):
            break
        picked.append(best)
        slots.append(offset + slot)
        scores = decay(planes, scores, slot)
    # (G, P) keeps equal scores in the order of the labels.
    flat = torch.stack(picked, 1).flatten()
    score, order = flat.sort(descending=True, stable=True)
    return torch.stack(slots, 1).flatten()[order], score


def _decay(
    planes: Tensor,
    scores: Tensor,
    slot: Tensor,
    *,
    weight: Callable[[Tensor], Tensor],
    min_score: float,
) -> Tensor:
    """Returns the scores (R, M) after the box in `slot` (R,) is picked."""
    slot = slot[:, None]  # (R, 1)
    box = planes.gather(2, slot[:, None].expand(-1, 5, -1))  # (R, 5, 1)
    after = scores * weight(_iou(planes, box))
    # False for gaps too, also where -inf * 0 has made them nan.
    after = torch.where(after >= min_score, after, _GONE)
    return after.scatter_(1, slot, _GONE)


def _iou(planes: Tensor, box: Tensor) -> Tensor:
    """Returns the IoU (R, M) of one box (R, 5, 1) a row with its row."""
    low = torch.maximum(planes[:, 0:2], box[:, 0:2])  # (R, 2, M)
    high = torch.minimum(planes[:, 2:4], box[:, 2:4])
    width, height = (high - low).clamp_(min=0).unbind(1)
    inter = width * height
    union = planes[:, 4] + box[:, 4] - inter
    # Two boxes without area: 0 instead of 0 / 0.
    return inter / union.clamp_(min=torch.finfo(union.dtype).tiny)


def _linear(iou: Tensor, threshold: float, sigma: float) -> Tensor:
    return torch.where(iou >= threshold, 1 - iou, 1.0)


def _gaussian(iou: Tensor, threshold: float, sigma: float) -> Tensor:
    return torch.exp(-iou.square() / sigma)


def _naive(iou: Tensor, threshold: float, sigma: float) -> Tensor:
    return (iou < threshold).to(iou.dtype)


_WEIGHTS = {'linear': _linear, 'gaussian': _gaussian, 'naive': _naive}


def _group_by_class(labels: Tensor) -> Tensor:
    """Returns indices (G, M): the boxes of a class a row, -1 in the gaps."""
    order = labels.argsort(stable=True)
    counts = labels[order].unique_consecutive(return_counts=True)[1]
    row = torch.arange(len(counts), device=labels.device)
    row = row.repeat_interleave(counts)
    first = (counts.cumsum(0) - counts)[row]
    column = torch.arange(len(labels), device=labels.device) - first
    slots = order.new_full((len(counts), int(counts.max())), -1)
    slots[row, column] = order
    return slots


def _planes(boxes: Tensor) -> Tensor:
    """Returns x1, y1, x2, y2, area as planes: (G, M, 4) -> (G, 5, M)."""
    sides = boxes[..., 2:] - boxes[..., :2]
    area = sides.prod(-1, keepdim=True)
    return torch.cat([boxes, area], -1).transpose(1, 2).contiguous()


def _check(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    sigma: float,
    method: str,
    max_num: int,
) -> None:
    num = boxes.shape[0] if boxes.ndim else 0
    shapes = [tuple(x.shape) for x in (boxes, scores, labels)]
    if shapes != [(num, 4), (num,), (num,)]:
        raise ValueError(
            'boxes, scores and labels must have the shapes (N, 4), (N,), '
            f'(N,), got {shapes}'
        )
    if method not in _WEIGHTS:
        raise ValueError(
            f'method must be one of {tuple(_WEIGHTS)}, got {method!r}'
        )
    if sigma <= 0:
        raise ValueError(f'sigma must be positive, got {sigma}')
    if max_num != -1 and max_num < 1:
        raise ValueError(f'max_num must be -1 or positive, got {max_num}')
