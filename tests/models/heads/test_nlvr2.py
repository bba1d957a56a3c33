# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement

from beit3_mm.models.heads import NLVR2Head

DIMS = 8
LABELS = (1, 0, 1)


def build():
    torch.manual_seed(0)
    head = NLVR2Head(DIMS)
    torch.nn.init.normal_(head.dense2.weight)  # starts near 0
    return head


def tokens(batch=3):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 2, 4, DIMS, generator=generator),
        torch.randn(batch, 2, 6, DIMS, generator=generator),
    )


def samples(labels=LABELS):
    return [
        BaseDataElement(
            metainfo=dict(identifier=f'dev-{i}'), gt_label=torch.tensor(label)
        )
        for i, label in enumerate(labels)
    ]


@torch.no_grad()
def test_the_order_of_images_and_modalities():
    head, seen = build(), []
    head.norm1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    vision, language = tokens()
    head(vision, language)
    expected = [
        *(vision[:, 0, 0], language[:, 0, 0]),
        *(vision[:, 1, 0], language[:, 1, 0]),
    ]
    assert torch.equal(seen[0], torch.cat(expected, dim=1))


def test_the_loss():
    head = build()
    expected = F.cross_entropy(head(*tokens()), torch.tensor(LABELS))
    loss = head.loss(*tokens(), samples())
    assert set(loss) == {'loss'}
    torch.testing.assert_close(loss['loss'], expected)


@torch.no_grad()
def test_predictions_need_no_labels():
    head = build()
    given = [BaseDataElement() for _ in LABELS]
    predicted = head.predict(*tokens(), given)
    scores = head(*tokens()).softmax(-1)
    for sample, mine, row in zip(predicted, given, scores, strict=True):
        assert sample is mine
        assert torch.equal(sample.pred_scores, row)
        assert sample.pred_label.shape == ()
        assert sample.pred_label == row.argmax()


def test_the_last_layer_starts_near_zero():
    head = NLVR2Head(64)
    assert 1.5e-5 < head.dense2.weight.std() < 2.5e-5
    assert 0.018 < head.dense1.weight.std() < 0.022
    assert not head.dense1.bias.any()
    assert not head.dense2.bias.any()


def test_errors():
    head, (vision, language) = build(), tokens()
    for wrong in (vision[:, 0], vision[:, :1]):
        with pytest.raises(ValueError, match='two images per text'):
            head(wrong, language)
    with pytest.raises(ValueError, match=r'gt_label \[2\] out of range'):
        head.loss(vision, language, samples([1, 2, 0]))
    unlabelled = [*samples()[:2], BaseDataElement(metainfo=dict(number=7))]
    with pytest.raises(ValueError, match=r"\['gt_label'\] .*'number': 7"):
        head.loss(vision, language, unlabelled)
    with pytest.raises(ValueError, match=r'\[0, 1\] .* one label'):
        head.loss(vision, language, samples([1, [0, 1], 1]))
