# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Golden agreement of the logits is tests/tools/test_check_parity.py's."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample

CLASSES, DIMS = 5, 32


def build(**options):
    torch.manual_seed(0)
    config = dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(
            type='beit3_mm.BEiT3ViT',
            img_size=32,
            patch_size=8,
            embed_dims=DIMS,
            num_layers=2,
            num_heads=4,
            feedforward_channels=64,
            with_cls_token=True,
        ),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head=dict(
            type='beit3_mm.ClassificationHead',
            embed_dims=DIMS,
            num_classes=CLASSES,
            **options,
        ),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def test_gradients_reach_every_parameter_that_trains():
    model = build()
    loss = model(torch.randn(3, 3, 32, 32), samples(0, 1, 4), mode='loss')
    loss['loss'].backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name


def test_scores_of_mixed_images_are_the_target():
    model, images = build(label_smoothing=0.1), torch.randn(2, 3, 32, 32)
    mixed = samples(0, 1)
    for sample in mixed:
        sample.set_gt_score(torch.tensor([0.5, 0.5, 0, 0, 0]))
    loss = model(images, mixed, mode='loss')['loss']
    # smoothing: 0.9 * 0.5 + 0.1 / 5 and 0.1 / 5
    expected = torch.nn.functional.cross_entropy(
        model(images), torch.tensor([[0.47, 0.47, 0.02, 0.02, 0.02]] * 2)
    )
    torch.testing.assert_close(loss, expected)


def test_predictions_are_what_the_host_reads():
    model, images = build().eval(), torch.randn(2, 3, 32, 32)
    predicted = model(images, samples(0, 1), mode='predict')
    scores = model(images).softmax(-1)
    for sample, score in zip(predicted, scores, strict=True):
        torch.testing.assert_close(sample.pred_score, score)
        assert sample.pred_label.tolist() == [score.argmax()]


def test_errors():
    model, images = build(), torch.randn(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r'gt_label \[5\] out of range'):
        model(images, samples(CLASSES), mode='loss')
    with pytest.raises(ValueError, match=r"needs \['gt_label'\]"):
        model(images, [DataSample()], mode='loss')
    wrong = DataSample().set_gt_score(torch.ones(3) / 3)
    with pytest.raises(ValueError, match='gt_score of 3 classes'):
        model(images, [wrong], mode='loss')
