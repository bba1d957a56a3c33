# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from beit3_mm.ops import batched_soft_nms

GOLDEN = Path(__file__).parents[1] / 'golden' / 'mmcv_ops.npz'
METHODS = ['linear', 'gaussian', 'naive']


def reference(boxes, scores, labels, iou_threshold, sigma, min_score, method):
    """One pick after the other, in the order of the definition."""
    scores = scores.clone()
    alive = scores >= min_score
    picks = []
    while alive.any():
        best = int(torch.where(alive, scores, -1.0).argmax())
        picks.append((best, float(scores[best])))
        alive[best] = False
        for other in alive.nonzero().flatten().tolist():
            if labels[other] != labels[best]:
                continue
            iou = float(box_iou(boxes[best][None], boxes[other][None]))
            if method == 'gaussian':
                scores[other] *= math.exp(-(iou**2) / sigma)
            elif iou >= iou_threshold:
                scores[other] *= 1 - iou if method == 'linear' else 0
            alive[other] = scores[other] >= min_score
    keep = torch.tensor([index for index, _ in picks])
    decayed = torch.tensor([score for _, score in picks], dtype=boxes.dtype)
    return torch.cat([boxes[keep], decayed[:, None]], 1), keep


def crowd(num, num_classes, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(num, 2, generator=generator, dtype=dtype) * 60
    size = torch.rand(num, 2, generator=generator, dtype=dtype) * 40 + 5
    scores = torch.rand(num, generator=generator, dtype=dtype)
    labels = torch.randint(num_classes, (num,), generator=generator)
    return torch.cat([corner, corner + size], 1), scores, labels


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('num_classes', [1, 7])
def test_agrees_with_the_definition(method, num_classes):
    inputs = crowd(90, num_classes)
    cfg = dict(iou_threshold=0.4, sigma=0.3, min_score=0.05, method=method)
    expected, expected_keep = reference(*inputs, **cfg)
    dets, keep = batched_soft_nms(*inputs, **cfg)
    assert torch.equal(keep, expected_keep)
    torch.testing.assert_close(dets, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('method', METHODS)
def test_agrees_with_compiled_mmcv(method):
    with np.load(GOLDEN) as file:
        boxes, scores, labels, dets, keep = (
            torch.from_numpy(file[key])
            for key in (
                'boxes',
                'scores',
                'labels',
                f'out/soft_{method}/dets',
                f'out/soft_{method}/keep',
            )
        )
        cfg = json.loads(str(file[f'cfg/soft_{method}']))
    cfg.pop('type')
    ours, ours_keep = batched_soft_nms(boxes, scores, labels, **cfg)
    assert torch.equal(ours_keep, keep)
    assert torch.equal(ours[:, :4], dets[:, :4])
    # mmcv's classes stand apart by an offset, which costs it precision.
    torch.testing.assert_close(ours, dets, rtol=0, atol=4e-6)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('max_num', [1, 30, 299, 1000])
def test_best_picks_are_the_head_of_the_complete_result(method, max_num):
    boxes, scores, labels = crowd(300, 5, dtype=torch.float32)
    scores = (scores * 8).round() / 8  # many equal scores
    cfg = dict(min_score=0.01, method=method)
    dets, keep = batched_soft_nms(boxes, scores, labels, **cfg)
    best, best_keep = batched_soft_nms(
        boxes, scores, labels, max_num=max_num, **cfg
    )
    assert torch.equal(best, dets[:max_num])
    assert torch.equal(best_keep, keep[:max_num])
    assert (dets[1:, 4] <= dets[:-1, 4]).all()


@pytest.mark.parametrize('max_num', [-1, 6])
def test_equal_scores_go_by_label_then_by_input_order(max_num):
    boxes = (
        torch.tensor([[0.0, 0.0, 1.0, 1.0]]) + 10 * torch.arange(6)[:, None]
    )
    labels = torch.tensor([3, 1, 3, 0, 1, 0])
    _, keep = batched_soft_nms(
        boxes, torch.full((6,), 0.5), labels, max_num=max_num
    )
    assert keep.tolist() == [3, 5, 1, 4, 0, 2]


@pytest.mark.parametrize('max_num', [-1, 10])
def test_classes_do_not_touch_each_other(max_num):
    # Far from the origin an offset of labels would lose the fractions.
    boxes = torch.tensor([[4000.25, 4000.25, 4003.5, 4003.5]]).repeat(3, 1)
    scores = torch.tensor([0.9, 0.8, 0.7])
    labels = torch.tensor([0, 1200, 0])
    dets, keep = batched_soft_nms(boxes, scores, labels, max_num=max_num)
    assert keep.tolist() == [0, 1]
    assert dets[:, 4].tolist() == scores[:2].tolist()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('max_num', [-1, 5])
def test_boxes_without_area_neither_harm_nor_vanish(method, max_num):
    boxes = torch.tensor([[2.0, 2, 2, 2], [2, 2, 2, 2], [0, 0, 4, 4]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    dets, keep = batched_soft_nms(
        boxes, scores, torch.zeros(3).long(), method=method, max_num=max_num
    )
    assert keep.tolist() == [0, 1, 2]
    assert torch.equal(dets[:, 4], scores)


@pytest.mark.parametrize('max_num', [-1, 5])
@pytest.mark.parametrize('score', [None, 1e-4, math.nan])
def test_nothing_to_keep(max_num, score):
    scores = torch.zeros(0) if score is None else torch.tensor([score])
    dets, keep = batched_soft_nms(
        torch.zeros(len(scores), 4),
        scores,
        torch.zeros(len(scores)).long(),
        max_num=max_num,
    )
    assert dets.shape == (0, 5)
    assert keep.shape == (0,)
    assert keep.dtype == torch.long


@pytest.mark.parametrize('max_num', [-1, 200])
def test_naive_with_bound_zero_keeps_suppressed_boxes_last(max_num):
    boxes, scores, labels = crowd(120, 2)
    dets, keep = batched_soft_nms(
        boxes, scores, labels, min_score=0, method='naive', max_num=max_num
    )
    assert sorted(keep.tolist()) == list(range(120))
    assert 0 < int((dets[:, 4] == 0).sum()) < 120


def test_long_lists_end_where_all_boxes_are_dropped():
    boxes, scores, _ = crowd(400, 1, dtype=torch.float32)
    labels = torch.zeros(400).long()
    dets, keep = batched_soft_nms(boxes, scores, labels, iou_threshold=0.1)
    capped = batched_soft_nms(
        boxes, scores, labels, iou_threshold=0.1, max_num=400
    )
    assert 64 < len(keep) < 400
    assert torch.equal(keep, capped[1])
    assert torch.equal(dets, capped[0])


def test_reduced_precision_is_computed_in_float32():
    boxes, scores, labels = crowd(60, 3, dtype=torch.float32)
    boxes, scores = boxes.bfloat16(), scores.bfloat16()
    dets, keep = batched_soft_nms(boxes, scores, labels)
    expected = batched_soft_nms(boxes.float(), scores.float(), labels)
    assert dets.dtype == torch.float32
    assert torch.equal(dets, expected[0])
    assert torch.equal(keep, expected[1])


def test_inputs_are_left_alone_and_need_no_gradient():
    boxes, scores, labels = crowd(30, 2)
    before = boxes.clone(), scores.clone()
    boxes.requires_grad_()
    dets, _ = batched_soft_nms(boxes, scores, labels)
    assert not dets.requires_grad
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(boxes=torch.zeros(3, 5)), r'\(3, 5\)'),
        (dict(boxes=torch.zeros(())), 'shapes'),
        (dict(scores=torch.zeros(3, 80)), r'\(3, 80\)'),
        (dict(labels=torch.zeros(2).long()), r'\(2,\)'),
        (dict(method='hard'), "'hard'"),
        (dict(sigma=0.0), 'sigma'),
        (dict(max_num=0), 'max_num'),
        (dict(max_num=-2), 'max_num'),
    ],
)
def test_bad_input_is_named(change, message):
    given = dict(
        boxes=torch.zeros(3, 4),
        scores=torch.zeros(3),
        labels=torch.zeros(3).long(),
    )
    with pytest.raises(ValueError, match=message):
        batched_soft_nms(**{**given, **change})
