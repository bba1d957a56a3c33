# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The stand-in against values of a compiled mmcv (golden/mmcv_ops.npz)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign, batched_nms

from beit3_mm.compat import mmcv_ext

GOLDEN = Path(__file__).parents[1] / 'golden' / 'mmcv_ops.npz'
METHODS = ['nms', 'soft_linear', 'soft_gaussian', 'soft_naive']


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN) as file:
        return {
            key: torch.from_numpy(value) if value.ndim else str(value)
            for key, value in file.items()
        }


@pytest.mark.parametrize('name', METHODS)
def test_nms_and_soft_nms_through_mmcv(golden, name):
    dets, keep = batched_nms(
        golden['boxes'],
        golden['scores'],
        golden['labels'],
        json.loads(golden[f'cfg/{name}']),
    )
    assert torch.equal(keep, golden[f'out/{name}/keep'])
    torch.testing.assert_close(
        dets, golden[f'out/{name}/dets'], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align_through_mmcv(golden, sampling_ratio):
    feat = golden['feat'].clone().requires_grad_()
    out = RoIAlign((7, 7), 0.25, sampling_ratio)(feat, golden['rois'])
    out.backward(torch.arange(784.0).view(4, 4, 7, 7) / 784)
    expected = golden[f'out/roi_align_sr{sampling_ratio}']
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    expected = golden[f'out/roi_align_sr{sampling_ratio}_grad']
    torch.testing.assert_close(feat.grad, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_roi_align_in_reduced_precision(golden, dtype):
    feat = golden['feat'].to(dtype).requires_grad_()
    rois = golden['rois'].to(dtype)
    out = RoIAlign((7, 7), 0.25, 2)(feat, rois)
    out.sum().backward()
    assert out.dtype == feat.grad.dtype == dtype

    exact = feat.detach().float().requires_grad_()
    expected = RoIAlign((7, 7), 0.25, 2)(exact, rois.float())
    expected.sum().backward()
    assert torch.equal(out, expected.to(dtype))
    assert torch.equal(feat.grad, exact.grad.to(dtype))


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_nms_in_reduced_precision(golden, kind, dtype):
    boxes, scores = golden['boxes'].to(dtype), golden['scores'].to(dtype)
    labels = torch.zeros_like(golden['labels'])
    cfg = dict(type=kind, iou_threshold=0.5)
    dets, keep = batched_nms(boxes, scores, labels, cfg)
    expected = batched_nms(boxes.float(), scores.float(), labels, cfg)
    assert dets.dtype == dtype
    assert torch.equal(keep, expected[1])
    assert torch.equal(dets, expected[0].to(dtype))


@pytest.mark.parametrize(
    ('offset', 'kept'),
    # The IoU is 6 / 10, and 12 / 18 with sides longer by one pixel.
    [(0, [0, 1]), (1, [0])],
)
def test_offset_widens_the_boxes(offset, kept):
    boxes = torch.tensor([[0.0, 0.0, 4.0, 2.0], [1.0, 0.0, 5.0, 2.0]])
    scores = torch.tensor([0.9, 0.8])
    threshold = 0.63
    keep = mmcv_ext.nms(boxes, scores, threshold, offset)
    assert keep.tolist() == kept

    dets = torch.zeros(2, 5)
    keep = mmcv_ext.softnms(
        boxes, scores, dets, threshold, 0.5, 1e-3, 0, offset
    )
    assert keep.tolist() == kept
    assert torch.equal(dets[0], torch.tensor([0.0, 0.0, 4.0, 2.0, 0.9]))


def test_no_boxes():
    assert mmcv_ext.nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 0).shape == (
        0,
    )
    keep = mmcv_ext.softnms(
        torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 5), 0.5, 1, 0, 1, 0
    )
    assert keep.shape == (0,)


def test_other_operators_name_themselves_and_the_remedy():
    operator = mmcv_ext.carafe_forward
    with pytest.raises(NotImplementedError, match='carafe_forward') as error:
        operator(torch.zeros(1), scale_factor=2)
    assert '--no-build-isolation' in str(error.value)
    assert not hasattr(mmcv_ext, '__path__')


def test_max_pooling_is_refused():
    rois = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
    with pytest.raises(NotImplementedError, match="pool_mode='avg'"):
        mmcv_ext.roi_align_forward(
            torch.zeros(1, 1, 4, 4),
            rois,
            *[torch.zeros(1)] * 3,
            2,
            2,
            1.0,
            2,
            0,
            True,
        )
