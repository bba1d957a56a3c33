# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement

from beit3_mm.models.heads import VQAHead

DIMS, ANSWERS = 8, 5
SCORES = ({1: 0.3, 4: 1.0}, {}, {0: 0.6})


def build():
    torch.manual_seed(0)
    return VQAHead(DIMS, ANSWERS)


def tokens(batch=3):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 4, DIMS, generator=generator),
        torch.randn(batch, 6, DIMS, generator=generator),
    )


def samples(scores=SCORES):
    """A sample without answers has a float tensor of labels, as torch makes
    it of an empty list.
    """
    return [
        BaseDataElement(
            metainfo=dict(question_id=i),
            gt_labels=torch.tensor(list(answers)),
            gt_scores=torch.tensor(list(answers.values())),
        )
        for i, answers in enumerate(scores)
    ]


def test_soft_scores_summed_over_answers_and_averaged_over_questions():
    head = build()
    target = torch.zeros(3, ANSWERS)
    for row, answers in zip(target, SCORES):
        for label, score in answers.items():
            row[label] = score
    logits = head(*tokens())
    expected = F.binary_cross_entropy_with_logits(logits, target) * ANSWERS
    loss = head.loss(*tokens(), samples())
    assert set(loss) == {'loss'}
    torch.testing.assert_close(loss['loss'], expected)


@torch.no_grad()
def test_small_tokens_show_the_epsilon_of_the_norms():
    head, (vision, language) = build(), tokens()
    vision = vision * 1e-3  # of a variance below the epsilon
    x = F.layer_norm(vision[:, 0], (DIMS,), eps=1e-5)
    x = torch.tanh(head.pooler.dense(x))
    x = F.layer_norm(head.classifier[0](x), (2 * DIMS,), eps=1e-5)
    expected = head.classifier[3](F.gelu(x))
    torch.testing.assert_close(head(vision, language), expected)


def test_the_loss_of_bfloat16_logits_is_float32():
    head = build()
    with torch.autocast('cpu', torch.bfloat16):
        assert head(*tokens()).dtype == torch.bfloat16
        assert head.loss(*tokens(), samples())['loss'].dtype == torch.float32
        (sample, *_) = head.predict(*tokens(), samples())
    assert sample.pred_scores.dtype == torch.float32


@torch.no_grad()
def test_only_the_first_vision_token_counts():
    head, (vision, language) = build(), tokens()
    logits = head(vision, language)
    assert torch.equal(head(vision[:, :1], language[:, :1] + 1), logits)
    assert not torch.equal(head(vision.flip(1), language), logits)


@torch.no_grad()
def test_predictions():
    head, given = build(), samples()
    predicted = head.predict(*tokens(), given)
    logits = head(*tokens())
    for sample, mine, row in zip(predicted, given, logits, strict=True):
        assert sample is mine
        assert torch.equal(sample.pred_scores, row.sigmoid())
        assert sample.pred_label.shape == ()
        assert sample.pred_label.dtype == torch.int64
        assert sample.pred_label == row.argmax()


@torch.no_grad()
def test_the_best_of_scores_that_round_to_one():
    head = build()
    head.classifier[3].weight.zero_()
    head.classifier[3].bias.copy_(torch.tensor([60.0, 50, 80, 70, 0]))
    (sample,) = head.predict(*tokens(1), samples([{}]))
    assert (sample.pred_scores == 1).sum() == 4
    assert sample.pred_label == 2


def test_initial_weights():
    head = VQAHead(64, 50)
    for name, parameter in head.named_parameters():
        if name.endswith('bias'):
            assert not parameter.any(), name
        elif parameter.ndim == 2:
            assert 0.018 < parameter.std() < 0.022, name


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(gt_labels=torch.tensor([1, ANSWERS])),
            r'gt_labels \[5\] out of range.* 5 classes apart, 0 to 4',
        ),
        (dict(gt_labels=torch.tensor([-1, 1])), r'\[-1\] out of range'),
        (
            dict(gt_labels=torch.tensor([1])),
            r"gt_labels \[1\] and gt_scores .*'question_id': 0",
        ),
        (dict(gt_labels=None), r"needs \['gt_labels'\] .*'question_id': 0"),
        (dict(gt_scores=None), r"needs \['gt_scores'\]"),
    ],
)
def test_wrong_labels(changes, message):
    given = samples()
    for name, value in changes.items():
        delattr(given[0], name)
        if value is not None:
            given[0].set_field(value, name)
    with pytest.raises(ValueError, match=message):
        build().loss(*tokens(), given)


def test_several_images_are_refused():
    vision, language = tokens()
    with pytest.raises(ValueError, match='one image per question'):
        build()(vision[:, None], language[:, None])
