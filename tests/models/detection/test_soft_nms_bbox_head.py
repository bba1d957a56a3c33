# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmdet.models.layers import multiclass_nms
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from beit3_mm.models.detection.soft_nms_bbox_head import select_boxes

IMG_META = dict(img_shape=(100, 120), scale_factor=(0.5, 0.5))


def rcnn_cfg(nms, score_thr=0.05, max_per_img=30):
    return ConfigDict(score_thr=score_thr, nms=nms, max_per_img=max_per_img)


def build_heads(reg_class_agnostic):
    """Our head, and mmdet's with the same weights."""
    heads = [
        MODELS.build(
            dict(
                type=type,
                num_shared_fcs=1,
                in_channels=8,
                fc_out_channels=16,
                num_classes=5,
                reg_class_agnostic=reg_class_agnostic,
            )
        )
        for type in ['beit3_mm.SoftNMSBBoxHead', 'mmdet.ConvFCBBoxHead']
    ]
    heads[1].load_state_dict(heads[0].state_dict())
    return heads


def head_outputs(head, num_boxes, seed=0):
    """RoIs that overlap, and what a head says of them."""
    generator = torch.Generator().manual_seed(seed)
    corner = 60 * torch.rand(num_boxes, 2, generator=generator)
    size = 20 + 20 * torch.rand(num_boxes, 2, generator=generator)
    rois = torch.cat([torch.zeros(num_boxes, 1), corner, corner + size], 1)
    deltas = 4 if head.reg_class_agnostic else 4 * head.num_classes
    return dict(
        rois=(rois,),
        cls_scores=(2 * torch.randn(num_boxes, 6, generator=generator),),
        bbox_preds=(torch.randn(num_boxes, deltas, generator=generator),),
        batch_img_metas=[IMG_META],
    )


@pytest.mark.parametrize('rescale', [True, False])
@pytest.mark.parametrize('reg_class_agnostic', [True, False])
@pytest.mark.parametrize(
    'nms',
    [
        dict(type='nms', iou_threshold=0.5),
        dict(type='soft_nms', method='linear', iou_threshold=0.6),
        dict(type='soft_nms', method='gaussian', sigma=0.3, min_score=0.02),
        dict(type='soft_nms', method='naive', iou_threshold=0.4),
    ],
    ids=['nms', 'linear', 'gaussian', 'naive'],
)
def test_equals_the_host(nms, reg_class_agnostic, rescale):
    ours, host = build_heads(reg_class_agnostic)
    outputs = head_outputs(ours, num_boxes=80)
    config = rcnn_cfg(nms)
    (result,) = ours.predict_by_feat(
        **outputs, rcnn_test_cfg=config, rescale=rescale
    )
    (expected,) = host.predict_by_feat(
        **outputs, rcnn_test_cfg=config, rescale=rescale
    )
    assert len(result) == 30
    assert torch.equal(result.labels, expected.labels)
    assert torch.equal(result.bboxes, expected.bboxes)
    # mmcv shifts boxes by class in float32 to keep classes apart.
    atol = 0 if nms['type'] == 'nms' else 1e-5
    torch.testing.assert_close(
        result.scores, expected.scores, rtol=0, atol=atol
    )


def test_scored_boxes_for_augmentation():
    ours, host = build_heads(reg_class_agnostic=False)
    outputs = head_outputs(ours, num_boxes=7)
    (result,) = ours.predict_by_feat(**outputs, rcnn_test_cfg=None)
    (expected,) = host.predict_by_feat(**outputs, rcnn_test_cfg=None)
    assert result.bboxes.shape == (7, 20)
    assert torch.equal(result.bboxes, expected.bboxes)
    assert torch.equal(result.scores, expected.scores)


@pytest.mark.parametrize('nms', ['nms', 'soft_nms'])
def test_no_proposals(nms):
    ours, _ = build_heads(reg_class_agnostic=False)
    outputs = head_outputs(ours, num_boxes=0)
    config = rcnn_cfg(dict(type=nms, iou_threshold=0.5))
    (result,) = ours.predict_by_feat(**outputs, rcnn_test_cfg=config)
    assert result.bboxes.shape == (0, 4)
    assert result.scores.shape == result.labels.shape == (0,)
    assert result.labels.dtype == torch.long


def test_threshold_comes_before_soft_nms():
    """A score that decays below `score_thr` stays; a low one never counts."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]])
    scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.05, 0.95]])
    nms = dict(type='soft_nms', iou_threshold=0.5)
    result = select_boxes(boxes, scores, rcnn_cfg(nms, score_thr=0.5))
    torch.testing.assert_close(result.scores, torch.tensor([0.9, 0.12]))
    assert torch.equal(result.bboxes, boxes[:2])


def test_all_boxes_are_kept_without_a_limit():
    ours, _ = build_heads(reg_class_agnostic=True)
    outputs = head_outputs(ours, num_boxes=40)
    nms = dict(type='soft_nms', iou_threshold=0.6, min_score=1e-5)
    (scored,) = ours.predict_by_feat(**outputs)
    config = rcnn_cfg(nms, score_thr=0.0, max_per_img=-1)
    result = select_boxes(scored.bboxes, scored.scores, config)
    dets, _ = multiclass_nms(scored.bboxes, scored.scores, 0.0, config.nms, -1)
    assert len(result) == len(dets) > 150
    torch.testing.assert_close(result.scores, dets[:, 4], rtol=0, atol=1e-5)


def test_unknown_option_is_refused():
    boxes, scores = torch.rand(2, 4), torch.rand(2, 2)
    nms = dict(type='soft_nms', iou_thr=0.5)
    with pytest.raises(TypeError, match='iou_thr'):
        select_boxes(boxes, scores, rcnn_cfg(nms))


def test_options_of_the_hosts_nms():
    boxes, scores = torch.rand(3, 4).sort(1)[0], torch.rand(3, 3)
    cfg = dict(type='soft_nms', class_agnostic=False, split_thr=9)
    config = ConfigDict(score_thr=0.0, nms=cfg, max_per_img=2)
    assert len(select_boxes(boxes, scores, config)) == 2
    config.nms.class_agnostic = True
    with pytest.raises(ValueError, match='leave class_agnostic out'):
        select_boxes(boxes, scores, config)
