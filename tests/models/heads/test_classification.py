# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The head inside mmpretrain's `ImageClassifier`."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.evaluation import Accuracy
from mmpretrain.structures import DataSample

from beit3_mm.engine.loading import load_weights
from beit3_mm.models.heads import ClassificationHead

CLASSES = 5


@pytest.fixture
def build(tiny_arch):
    def build(sizes=tiny_arch, num_classes=CLASSES, augments=(), **options):
        torch.manual_seed(0)
        config = dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(
                type='beit3_mm.BEiT3ViT', **sizes, with_cls_token=True
            ),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='beit3_mm.ClassificationHead',
                embed_dims=sizes['embed_dims'],
                num_classes=num_classes,
                **options,
            ),
            data_preprocessor=dict(
                type='mmpretrain.ClsDataPreprocessor',
                mean=[0.0] * 3,
                std=[1.0] * 3,
                num_classes=num_classes,
            ),
            train_cfg=dict(augments=list(augments)) if augments else None,
        )
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(config)
        torch.nn.init.normal_(model.head.fc.weight)  # starts near 0
        return model

    return build


def images(batch=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 3, 32, 32, generator=generator)


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


@torch.no_grad()
def test_agreement_with_the_official_model(golden, build):
    config, tensors = golden('beit3_tiny_classification')
    sizes = {
        key: config[key]
        for key in (
            *('img_size', 'patch_size', 'embed_dims', 'num_layers'),
            *('num_heads', 'feedforward_channels'),
        )
    }
    num_classes = len(tensors['weights/head.bias'])
    model = build(sizes, num_classes).eval()
    weights = {
        name.removeprefix('weights/'): tensor
        for name, tensor in tensors.items()
        if name.startswith('weights/')
    }
    report = load_weights(model, weights, 'golden')
    assert report.complete
    assert report.unexpected
    for name in report.unexpected:
        assert any(x in name for x in ('.B.', 'text_', 'mask_token'))
    torch.testing.assert_close(
        model(tensors['image']), tensors['out/logits'], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('form', ['released', 'paper'])
def test_gradients_reach_every_parameter(
    build, tiny_arch, paper_form, form, with_cp
):
    arch = tiny_arch | (paper_form if form == 'paper' else {})
    model = build(arch | dict(with_cp=with_cp)).train()
    model(images(), samples(0, 1, 4), mode='loss')['loss'].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # all keys share the bias, which shifts a softmax's logits alike
        if not (name.endswith('bias') and 'k_proj' in name):
            assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_a_batch_of_three_equals_three_batches_of_one(build):
    model = build().eval()
    alone = torch.cat([model(image[None]) for image in images()])
    torch.testing.assert_close(alone, model(images()))


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_the_loss_of_labels(build, smoothing):
    model = build(label_smoothing=smoothing)
    loss = model(images(), samples(0, 1, 4), mode='loss')
    assert set(loss) == {'loss'}
    target = F.one_hot(torch.tensor([0, 1, 4]), CLASSES)
    target = target * (1 - smoothing) + smoothing / CLASSES
    expected = -(target * model(images()).log_softmax(-1)).sum(1).mean()
    torch.testing.assert_close(loss['loss'], expected)


def test_the_loss_of_mixed_labels(build):
    model = build(label_smoothing=0.1)
    scores = torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 0.3, 0, 0.7]])
    mixed = samples(0, 1)
    for sample, score in zip(mixed, scores):
        sample.set_gt_score(score)
    loss = model(images(2), mixed, mode='loss')['loss']
    target = scores * 0.9 + 0.1 / CLASSES
    expected = -(target * model(images(2)).log_softmax(-1)).sum(1).mean()
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    'augment',
    [
        dict(type='mmpretrain.Mixup', alpha=0.8),
        dict(type='mmpretrain.CutMix', alpha=1.0),
    ],
    ids=['mixup', 'cutmix'],
)
def test_a_step_with_mixed_images(build, augment, monkeypatch):
    """The classifier's `train_cfg` mixes images and labels; no sample's own
    label is used then.
    """
    model, seen = build(augments=[augment]).train(), []
    cross_entropy = F.cross_entropy
    np.random.seed(0)  # mmpretrain draws how much is mixed

    def note(logits, target, **options):
        seen.append(target)
        return cross_entropy(logits, target, **options)

    monkeypatch.setattr(F, 'cross_entropy', note)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.head.fc.weight.clone()
    data = dict(inputs=images(4), data_samples=samples(0, 1, 2, 4))
    log = model.train_step(data, OptimWrapper(optimizer))
    assert log['loss'].isfinite()
    assert not torch.equal(model.head.fc.weight, before)
    (target,) = seen
    assert target.shape == (4, CLASSES)
    torch.testing.assert_close(target.sum(1), torch.ones(4))
    assert ((target > 0) & (target < 1)).any()


@torch.no_grad()
def test_predictions_are_what_the_host_reads(build):
    model = build().eval()
    logits = model(images())
    labels = logits.argmax(1).tolist()
    labels[0] = (labels[0] + 1) % CLASSES
    given = samples(*labels)
    predicted = model(images(), given, mode='predict')
    for sample, mine, row in zip(predicted, given, logits, strict=True):
        assert sample is mine
        torch.testing.assert_close(sample.pred_score, row.softmax(-1))
        assert sample.pred_label.tolist() == [row.argmax()]
    metric = Accuracy(topk=(1, CLASSES))
    metric.process(None, [sample.to_dict() for sample in predicted])
    found = metric.evaluate(3)
    assert found['accuracy/top1'] == pytest.approx(200 / 3)
    assert found[f'accuracy/top{CLASSES}'] == 100
    without = model(images(), mode='predict')
    for sample, mine in zip(without, predicted, strict=True):
        assert torch.equal(sample.pred_score, mine.pred_score)


@torch.no_grad()
def test_features_before_the_classifier(build):
    model = build().eval()
    before = model.extract_feat(images(), stage='pre_logits')
    assert before.shape == (3, 24)
    torch.testing.assert_close(model.head.fc(before), model(images()))
    (maps,) = model.extract_feat(images(), stage='backbone')
    pooled = F.layer_norm(maps.mean((2, 3)), (24,), eps=1e-5)
    torch.testing.assert_close(before, pooled)


def test_the_classifier_starts_near_zero():
    fc = ClassificationHead(64, 50).fc
    assert 1.8e-5 < fc.weight.std() < 2.2e-5
    assert not fc.bias.any()


def test_errors(build):
    model, image = build(), images(1)
    with pytest.raises(ValueError, match=r'gt_label \[5\] out of range'):
        model(image, samples(CLASSES), mode='loss')
    with pytest.raises(ValueError, match=r"needs \['gt_label'\]"):
        model(image, [DataSample()], mode='loss')
    with pytest.raises(ValueError, match=r'\[0, 1\] .* one label'):
        model(image, samples([0, 1]), mode='loss')
    wrong = DataSample().set_gt_score(torch.ones(3) / 3)
    with pytest.raises(ValueError, match='gt_score of 3 classes'):
        model(image, [wrong], mode='loss')
