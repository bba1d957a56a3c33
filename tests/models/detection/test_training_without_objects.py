# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images without objects, and boxes without masks, train by configuration."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData


def make_batch(num_objects, with_mask):
    """One image of 64 x 96 pixels with up to two objects."""
    boxes = torch.tensor([[10.0, 10, 40, 40], [30, 20, 60, 50]])[:num_objects]
    objects = InstanceData(
        bboxes=HorizontalBoxes(boxes),
        labels=torch.tensor([0, 2])[:num_objects],
    )
    if with_mask:
        masks = np.ones((num_objects, 64, 96), np.uint8)
        objects.masks = BitmapMasks(masks, 64, 96)
    sample = DetDataSample()
    sample.gt_instances = objects
    sample.ignored_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.zeros(0, 4)),
        labels=torch.zeros(0, dtype=torch.long),
    )
    sample.set_metainfo(dict(img_shape=(64, 96), ori_shape=(64, 96)))
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    return dict(inputs=[image], data_samples=[sample])


@pytest.mark.parametrize('with_mask', [True, False])
@pytest.mark.parametrize('num_objects', [0, 2])
def test_losses(build_detector, num_objects, with_mask):
    detector = build_detector(with_mask=with_mask).train()
    batch = make_batch(num_objects, with_mask)
    batch = detector.data_preprocessor(batch, training=True)
    losses = detector(**batch, mode='loss')
    assert with_mask == any('mask' in name for name in losses)
    loss, _ = detector.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    # Every parameter takes part, as distributed training needs.
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter.grad).all(), name
    if not num_objects and with_mask:
        assert losses['s0.loss_mask'] == 0
