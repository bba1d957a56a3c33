# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import ast
import copy
import inspect

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS
from mmengine.structures import InstanceData
from torch import nn

from beit3_mm.models.detection import InstanceTTAModel
from beit3_mm.models.detection.view_frame import ViewFrame, map_boxes

NMS = dict(type='nms', iou_threshold=0.5)
SOFT_NMS = dict(type='soft_nms', method='linear', iou_threshold=0.5)


def plain_predict(detector, data):
    """What the detector itself says of the first view."""
    first = {key: copy.deepcopy(value[0]) for key, value in data.items()}
    with torch.no_grad():
        return [s.pred_instances for s in detector.test_step(first)]


def tta_predict(detector, data):
    model = InstanceTTAModel(detector)
    return [s.pred_instances for s in model.test_step(copy.deepcopy(data))]


def assert_same(results, expected):
    assert len(results) == len(expected) > 0
    for result, plain in zip(results, expected):
        assert set(result.keys()) == set(plain.keys())
        for key, value in plain.items():
            assert torch.equal(result[key], value), key


@pytest.mark.parametrize('nms', [NMS, SOFT_NMS], ids=['nms', 'soft_nms'])
@pytest.mark.parametrize('with_mask', [True, False])
@pytest.mark.parametrize('cascade', [True, False])
def test_one_view_is_the_plain_result(
    build_detector, images, make_views, cascade, with_mask, nms
):
    detector = build_detector(cascade, with_mask, nms)
    data = make_views(images, (150, None))
    expected = plain_predict(detector, data)
    assert all(len(result) == 20 for result in expected)
    assert with_mask == all('masks' in result for result in expected)
    if with_mask:
        assert all(result.masks.any() for result in expected)
    assert_same(tta_predict(detector, data), expected)


def test_one_view_is_the_plain_result_in_bfloat16(
    build_detector, images, make_views
):
    detector = build_detector()
    data = make_views(images[:1], (150, None))
    with torch.autocast('cpu', torch.bfloat16):
        expected = plain_predict(detector, data)
        assert_same(tta_predict(detector, data), expected)


def test_a_view_given_twice_changes_nothing(
    build_detector, images, make_views
):
    detector = build_detector(nms=NMS)  # drops the doubles, keeps scores
    expected = plain_predict(detector, make_views(images, (150, None)))
    data = make_views(images, (150, None), (150, None))
    assert_same(tta_predict(detector, data), expected)


@pytest.mark.parametrize('with_mask', [True, False])
@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_mirrored_image_gives_mirrored_result(
    build_detector, images, make_views, direction, with_mask
):
    # The views of both images are the same, in another order. The image is
    # not resized, for cv2 does not resize mirrored pixels to mirrored ones.
    detector = build_detector(with_mask=with_mask)
    image = images[0]
    axes = {'horizontal': 1, 'vertical': 0, 'diagonal': (0, 1)}[direction]
    mirrored = np.ascontiguousarray(np.flip(image, axes))
    views = [(96, None), (96, direction)]
    result = tta_predict(detector, make_views([image], *views))[0]
    other = tta_predict(detector, make_views([mirrored], *views))[0]

    assert torch.equal(result.labels, other.labels)
    torch.testing.assert_close(result.scores, other.scores)
    size = image.shape[:2]
    frame = ViewFrame(width=size[1], height=size[0])
    flipped = ViewFrame(width=size[1], height=size[0], flip=direction)
    back = map_boxes(other.bboxes, flipped, frame)
    torch.testing.assert_close(result.bboxes, back, rtol=0, atol=1e-3)
    if with_mask:
        axes = np.atleast_1d(axes) + 1
        differs = result.masks != other.masks.flip(axes.tolist())
        assert result.masks.any()
        assert differs.float().mean() < 1e-4


@pytest.mark.parametrize('with_mask', [True, False])
def test_order_of_views_does_not_matter(
    build_detector, images, make_views, with_mask
):
    detector = build_detector(with_mask=with_mask)
    views = [(150, None), (150, 'horizontal'), (220, None), (96, 'vertical')]
    result = tta_predict(detector, make_views(images, *views))
    other = tta_predict(detector, make_views(images, *views[::-1]))
    for a, b in zip(result, other):
        assert torch.equal(a.labels, b.labels)
        torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=1e-4)
        torch.testing.assert_close(a.bboxes, b.bboxes, rtol=0, atol=1e-3)
        if with_mask:
            assert (a.masks != b.masks).float().mean() < 1e-4
    plain = plain_predict(detector, make_views(images, (150, None)))
    assert not torch.equal(result[0].scores, plain[0].scores)


def test_images_of_a_batch_do_not_meet(build_detector, images, make_views):
    detector = build_detector()
    detector.data_preprocessor.pad_size_divisor = 256  # alone as in a batch
    views = [(160, None), (140, 'horizontal')]
    both = tta_predict(detector, make_views(images, *views))
    for image, result in zip(images, both):
        alone = tta_predict(detector, make_views([image], *views))[0]
        assert torch.equal(result.labels, alone.labels)
        torch.testing.assert_close(result.scores, alone.scores)
        assert result.masks.shape[1:] == image.shape[:2]
        assert (result.masks != alone.masks).float().mean() < 1e-4


@pytest.mark.parametrize(
    'logits, painted',
    [((2.0, -3.0), False), ((-2.0, 3.0), True)],
)
def test_masks_of_views_are_averaged(
    build_detector, images, make_views, monkeypatch, logits, painted
):
    # Means of probabilities: (0.88 + 0.05) / 2 < 0.5 < (0.12 + 0.95) / 2.
    detector = build_detector()
    by_view = {}

    def mask_forward(head, stage, maps, rois):
        view = by_view.setdefault(id(maps), len(by_view))
        mask = torch.full((len(rois), 3, 28, 28), logits[view])
        return dict(mask_preds=mask)

    monkeypatch.setattr(CascadeRoIHead, '_mask_forward', mask_forward)
    data = make_views(images[:1], (96, None), (150, 'horizontal'))
    result = tta_predict(detector, data)[0]
    assert len(by_view) == 2
    assert bool(result.masks.any()) == painted


def test_one_object_seen_in_two_views(build_detector):
    """Boxes of another scale and flip meet in pixels of the first view."""
    model = InstanceTTAModel(build_detector(nms=NMS))
    views = []
    for boxes, scale, flip in [
        ([[10.0, 20.0, 30.0, 40.0], [50.0, 5.0, 60.0, 15.0]], 1.0, None),
        ([[140.0, 40.0, 180.0, 80.0]], 2.0, 'horizontal'),
    ]:
        sample = DetDataSample()
        sample.set_metainfo(
            dict(
                ori_shape=(50, 100),
                scale_factor=(scale, scale),
                flip=flip is not None,
                flip_direction=flip,
            )
        )
        scores = torch.tensor([[0.6, 0.1, 0.0, 0.3], [0.0, 0.0, 0.8, 0.2]])
        scores[0, 0] += 0.1 * (scale - 1)
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(boxes), scores=scores[: len(boxes)]
        )
        views.append(sample)
    (merged,) = model.merge_preds([views])
    result = merged.pred_instances
    assert result.labels.tolist() == [2, 0, 1]
    torch.testing.assert_close(result.scores, torch.tensor([0.8, 0.7, 0.1]))
    expected = [[50.0, 5.0, 60.0, 15.0], [10.0, 20.0, 30.0, 40.0]]
    torch.testing.assert_close(
        result.bboxes, torch.tensor([*expected, expected[1]])
    )


def drop_proposals(detector, condition):
    """Makes the RPN blind for images of which `condition(sample)` holds."""
    predict = detector.rpn_head.predict

    def predict_some(maps, samples, rescale):
        results = predict(maps, samples, rescale=rescale)
        return [r[:0] if condition(s) else r for r, s in zip(results, samples)]

    detector.rpn_head.predict = predict_some


@pytest.mark.parametrize('with_mask', [True, False])
@pytest.mark.parametrize('cascade', [True, False])
@pytest.mark.parametrize('empty', ['no proposals', 'no boxes'])
def test_empty_results(
    build_detector, images, make_views, cascade, with_mask, empty
):
    detector = build_detector(cascade, with_mask)
    if empty == 'no proposals':
        drop_proposals(detector, lambda sample: True)
    else:
        detector.roi_head.test_cfg.score_thr = 1.0
    data = make_views(images, (96, None), (150, 'vertical'))
    for image, result in zip(images, tta_predict(detector, data)):
        assert result.bboxes.shape == (0, 4)
        assert result.scores.shape == result.labels.shape == (0,)
        assert result.labels.dtype == torch.long
        if with_mask:
            assert result.masks.dtype == torch.bool
            assert result.masks.shape == (0, *image.shape[:2])


@pytest.mark.parametrize('with_mask', [True, False])
@pytest.mark.parametrize('cascade', [True, False])
def test_one_empty_image(
    build_detector, images, make_views, cascade, with_mask
):
    detector = build_detector(cascade, with_mask)
    shape = images[1].shape[:2]
    drop_proposals(detector, lambda sample: sample.ori_shape == shape)
    data = make_views(images, (96, None))
    expected = plain_predict(detector, data)
    assert [len(result) for result in expected] == [20, 0]
    assert_same(tta_predict(detector, data), expected)


def test_a_view_without_proposals_adds_nothing(
    build_detector, images, make_views
):
    detector = build_detector(cascade=False, with_mask=False)
    data = make_views(images[:1], (96, None), (150, None))
    expected = plain_predict(detector, data)
    drop_proposals(detector, lambda sample: sample.img_shape[1] == 150)
    assert_same(tta_predict(detector, data), expected)


def test_documented_config(build_detector, images, tmp_path):
    """The configuration in the docstring builds, and runs as tests run it."""
    source = inspect.getdoc(InstanceTTAModel).split('Example:')[1]
    lines = [line.strip()[4:] for line in source.strip().splitlines()]
    scope = {}
    exec(ast.unparse(ast.parse('\n'.join(lines))), scope)

    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), images[0])
    sample = Compose(scope['tta_pipeline'])(dict(img_path=str(path)))
    assert len(sample['inputs']) == 4
    config = ConfigDict(scope['tta_model'], module=build_detector())
    (result,) = MODELS.build(config).test_step(pseudo_collate([sample]))
    assert result.img_path == str(path)
    assert result.pred_instances.masks.shape == (20, *images[0].shape[:2])


def test_refuses_other_detectors(build_detector):
    class OtherRoIHead(CascadeRoIHead):
        pass

    detector = build_detector()
    detector.roi_head.__class__ = OtherRoIHead
    with pytest.raises(TypeError, match='OtherRoIHead'):
        InstanceTTAModel(detector)
    detector = nn.Identity()
    detector.test_step = detector.forward
    with pytest.raises(TypeError, match='Identity'):
        InstanceTTAModel(detector)
