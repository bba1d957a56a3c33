# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Golden agreement of the logits is tests/tools/test_check_parity.py's."""

import pytest
import torch
from mmengine.structures import BaseDataElement

from beit3_mm.models.multimodal import FusionEncoder

DIMS, ANSWERS = 32, 7
FORMS = {
    'released': {},
    'paper': dict(multiway_attention=False, sub_norm=False, num_vl_layers=1),
}
HEADS = {
    'vqa': dict(type='beit3_mm.VQAHead', num_answers=ANSWERS),
    'nlvr2': dict(type='beit3_mm.NLVR2Head'),
}


def build(task, form='released'):
    torch.manual_seed(0)
    backbone = dict(
        img_size=32,
        patch_size=8,
        embed_dims=DIMS,
        num_layers=2,
        num_heads=4,
        feedforward_channels=64,
        vocab_size=60,
        max_text_positions=32,
        final_norm=task == 'nlvr2',
    )
    return FusionEncoder(
        backbone | FORMS[form], HEADS[task] | dict(embed_dims=DIMS)
    )


def make_inputs(task, batch=3):
    torch.manual_seed(1)
    images = (2,) if task == 'nlvr2' else ()
    padding = torch.zeros(batch, 6, dtype=torch.bool)
    padding[0, 4:] = True
    return dict(
        image=torch.randn(batch, *images, 3, 32, 32),
        text_ids=torch.randint(3, 60, (batch, 6)),
        text_padding_mask=padding,
    )


def samples(task, batch=3):
    if task == 'nlvr2':
        fields = [dict(gt_label=torch.tensor(i % 2)) for i in range(batch)]
    else:
        fields = [
            dict(gt_labels=torch.tensor([1, 4]), gt_scores=torch.ones(2) / 2)
        ] * batch
    return [
        BaseDataElement(metainfo=dict(img_path=f'{i}.jpg'), **field)
        for i, field in enumerate(fields)
    ]


every_model = pytest.mark.parametrize(
    'task, form', [(task, form) for task in HEADS for form in FORMS]
)


@every_model
def test_gradients_reach_every_parameter_that_trains(task, form):
    model = build(task, form)
    # The last linear layer of NLVR2 starts near 0.
    model(make_inputs(task), samples(task), mode='loss')['loss'].backward()
    without = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.abs().sum())
    }
    # VQA looks at the CLS token alone: what the last layer makes of the
    # language tokens, but for their keys and values, is not used. The keys'
    # biases shift all logits of a softmax alike where they are shared.
    allowed = ('.language', 'k_proj.shared.bias')
    last = 'backbone.encoder.layers.1.'
    for name in without:
        assert name.endswith(allowed[1]) or (
            task == 'vqa' and name.startswith(last) and allowed[0] in name
        ), name


@every_model
def test_padding_changes_nothing(task, form):
    model, inputs = build(task, form).eval(), make_inputs(task)
    longer = dict(
        inputs,
        text_ids=torch.nn.functional.pad(inputs['text_ids'], (0, 5), value=1),
        text_padding_mask=torch.nn.functional.pad(
            inputs['text_padding_mask'], (0, 5), value=True
        ),
    )
    torch.testing.assert_close(model(longer), model(inputs), atol=1e-6, rtol=0)


@every_model
def test_a_batch_equals_its_samples(task, form):
    model, inputs = build(task, form).eval(), make_inputs(task)
    single = [
        model({key: value[i : i + 1] for key, value in inputs.items()})
        for i in range(3)
    ]
    torch.testing.assert_close(
        torch.cat(single), model(inputs), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize('task', HEADS)
def test_predictions(task):
    model, inputs = build(task).eval(), make_inputs(task)
    predicted = model(inputs, samples(task), mode='predict')
    logits = model(inputs)
    scores = logits.sigmoid() if task == 'vqa' else logits.softmax(-1)
    for sample, score in zip(predicted, scores, strict=True):
        torch.testing.assert_close(sample.pred_scores, score)
        assert sample.pred_label == score.argmax()


def test_the_vqa_loss_is_summed_over_answers():
    model, inputs = build('vqa').eval(), make_inputs('vqa')
    target = torch.zeros(3, ANSWERS)
    target[:, [1, 4]] = 0.5
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        model(inputs), target
    )
    loss = model(inputs, samples('vqa'), mode='loss')['loss']
    torch.testing.assert_close(loss, ANSWERS * expected)


def test_errors():
    model, inputs = build('vqa'), make_inputs('vqa')
    with pytest.raises(ValueError, match=r"needs \['text_ids'\] as well"):
        model(dict(inputs, text_ids=None))
    with pytest.raises(ValueError, match='3 samples of images do not fit 2'):
        model(dict(inputs, text_ids=inputs['text_ids'][:2]))
    with pytest.raises(ValueError, match=r'must be \(B, 3, H, W\)'):
        model(dict(inputs, image=inputs['image'][0]))
    with pytest.raises(ValueError, match="mode='predicts' must be"):
        model(inputs, mode='predicts')
    with pytest.raises(ValueError, match="mode='loss' needs data_samples"):
        model(inputs, mode='loss')
    with pytest.raises(ValueError, match='one image per question'):
        model(make_inputs('nlvr2'))
    with pytest.raises(ValueError, match='two images per text'):
        build('nlvr2')(inputs)
    wrong = samples('vqa')
    wrong[1].gt_labels = torch.tensor([1, ANSWERS])
    with pytest.raises(ValueError, match=r'gt_labels \[7\] out of range'):
        model(inputs, wrong, mode='loss')
    del wrong[1].gt_labels
    with pytest.raises(ValueError, match=r"needs \['gt_labels'\] of the"):
        model(inputs, wrong, mode='loss')
