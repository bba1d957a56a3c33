# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections import OrderedDict

import captioners
import pytest
import torch
from captioners import LENGTHS, MASK_ID, NUM_WORDS, batch, images
from mmengine.logging import MessageHub
from mmengine.structures import BaseDataElement

from beit3_mm.registry import MODELS

FORMS = ('released', 'paper', 'vl experts')


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    """Starts without a message hub, whichever runs came before."""
    monkeypatch.setattr(MessageHub, '_instance_dict', OrderedDict())


@pytest.fixture(params=FORMS)
def model(request, tiny_arch, paper_form):
    if request.param == 'released':
        return captioners.build(tiny_arch)
    return captioners.build(
        tiny_arch | paper_form, use_vl_experts=request.param == 'vl experts'
    )


@torch.no_grad()
def test_agreement_with_the_official_captioner(golden):
    config, tensors = golden('beit3_tiny_captioning')
    model, inputs = captioners.official(config, tensors)
    torch.testing.assert_close(
        model(inputs), tensors['out/logits'], rtol=0, atol=1e-5
    )
    hub = MessageHub.get_instance('run')
    for iteration, name in (
        (0, 'caption_loss'),
        (11999, 'caption_loss'),
        (12000, 'caption_loss_drop_worst'),
    ):
        hub.update_info('iter', iteration)
        loss = model(inputs, mode='loss')['loss']
        torch.testing.assert_close(
            loss, tensors[f'out/{name}'], rtol=0, atol=1e-5
        )


@torch.no_grad()
def test_only_what_is_to_be_predicted_meets_the_vocabulary(model):
    inputs, shapes = batch(), []
    model.head.register_forward_hook(
        lambda _, args, output: shapes.append(args[0].shape)
    )
    number = int(inputs['text_mask'].sum())
    assert model(inputs).shape == (number, NUM_WORDS)
    model(inputs, mode='loss')
    assert shapes == [(number, 24)] * 2


@torch.no_grad()
def test_padding_and_the_batch_change_nothing(model):
    model, inputs = model.eval(), batch()
    together = model(inputs).split(inputs['text_mask'].sum(1).tolist())
    losses = []
    for i, length in enumerate(LENGTHS):
        alone = {key: x[i : i + 1, :length] for key, x in inputs.items()}
        alone['image'] = inputs['image'][i : i + 1]
        alone['text_padding_mask'] = None
        torch.testing.assert_close(model(alone), together[i])
        loss = model(alone, mode='loss')['loss']
        losses += [loss] * int(alone['text_mask'].sum())
    # The mean is that of all tokens, not of the captions' means.
    loss = model(inputs, mode='loss')['loss']
    torch.testing.assert_close(loss, torch.stack(losses).mean())


@torch.no_grad()
def test_a_word_sees_the_image_and_the_left_only(model):
    model, inputs = model.eval(), batch()
    inputs['text_mask'] = torch.zeros_like(inputs['text_mask'])
    inputs['text_mask'][:, 1] = True
    before = model(inputs)
    right = dict(inputs, text_ids=inputs['text_ids'].clone())
    right['text_ids'][:, 2] = 7
    assert torch.equal(model(right), before)
    left = dict(inputs, text_ids=inputs['text_ids'].clone())
    left['text_ids'][:, 0] = 7
    for changed in (left, dict(inputs, image=images(seed=5))):
        difference = (model(changed) - before).abs().amax(1)
        assert (difference > 1e-3).all()


def test_gradients_reach_every_parameter(model):
    inputs = batch()
    model(inputs, mode='loss')['loss'].backward()
    # The tokens of the image leave the last layer for nowhere.
    nowhere = (
        *('backbone.encoder.norm.vision.', '.layers.2.ffn.vision.'),
        *('.layers.2.attention.sub_norm.vision.', '2.attention.q_proj.vision'),
        '.layers.2.attention.out_proj.vision.',
    )
    frozen = set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            frozen.add(name)
            continue
        assert parameter.grad is not None, name
        if any(part in name for part in nowhere):
            assert not parameter.grad.any(), name
        elif not (name.endswith('bias') and 'k_proj' in name):
            assert parameter.grad.abs().max() > 0, name
    unused = {'backbone.vision_embedding.mask_token'}
    if 'vision_language' in model.backbone.encoder.layers[-1].ffn:
        unused |= {
            name
            for name, _ in model.named_parameters()
            if '.layers.2.ffn.vision.' in name or '2.ffn.language.' in name
        }
    assert frozen == unused


def test_vision_language_experts_are_a_switch(tiny_arch, paper_form):
    arch = tiny_arch | paper_form
    outputs = []
    for switch in ({}, dict(use_vl_experts=False), dict(use_vl_experts=True)):
        model = captioners.build(arch, **switch).eval()
        names = [n for n in model.state_dict() if 'vision_language' in n]
        assert bool(names) == switch.get('use_vl_experts', False)
        if names:
            for name, parameter in model.named_parameters():
                if 'vision_language' in name:
                    torch.nn.init.normal_(parameter, std=0.3)
        outputs.append(model(batch()))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])


@torch.no_grad()
def test_predictions_need_an_image_only(model):
    samples = [BaseDataElement(metainfo=dict(image_id=i)) for i in range(3)]
    model = model.eval()
    result = model(dict(image=images()), samples, mode='predict')
    captions = model.beam_search(model.backbone, model.head, images())
    for i, sample in enumerate(result):
        assert sample.image_id == i
        assert sample.pred_ids.shape == (20,)
        assert torch.equal(sample.pred_ids, captions.ids[i])


def test_bfloat16(model):
    inputs = batch()
    expected = model(inputs, mode='loss')['loss']
    with torch.autocast('cpu', torch.bfloat16):
        loss = model(inputs, mode='loss')['loss']
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)


def test_it_is_built_from_a_config(tiny_arch):
    model = MODELS.build(
        dict(
            type='beit3_mm.ImageToText',
            backbone=dict(tiny_arch, vocab_size=NUM_WORDS),
            head=dict(
                type='beit3_mm.CaptionHead',
                embed_dims=24,
                vocab_size=NUM_WORDS,
            ),
            beam_search=dict(num_beams=5, mask_id=MASK_ID),
        )
    )
    assert model.beam_search.num_beams == 5
    assert 'head.lm.weight' in model.state_dict()


@pytest.mark.parametrize('name', ['image', 'text_ids', 'text_mask'])
def test_inputs_that_are_missing(tiny_arch, name):
    model, inputs = captioners.build(tiny_arch), batch()
    for mode in ('tensor', 'loss'):
        with pytest.raises(ValueError, match=rf"needs \['{name}'\] as well"):
            model(dict(inputs, **{name: None}), mode=mode)


def test_errors(tiny_arch):
    model, inputs = captioners.build(tiny_arch), batch()
    targets = inputs.pop('target_ids')
    with pytest.raises(ValueError, match=r"needs \['target_ids'\] as well"):
        model(inputs, mode='loss')
    assert len(targets) == 3
    with pytest.raises(ValueError, match="mode='predict' needs data_samples"):
        model(inputs, mode='predict')
    with pytest.raises(ValueError, match=r"needs \['image'\] as well; .*text"):
        model(dict(text_ids=targets), [], mode='predict')
    with pytest.raises(ValueError, match="mode='train' must be"):
        model(inputs, mode='train')
    with pytest.raises(ValueError, match=r'mask_id=64001 .*vocab_size=40'):
        captioners.build(tiny_arch, search=dict(mask_id=64001))
    with pytest.raises(ValueError, match='max_tokens=21 is more than the 20'):
        captioners.build(tiny_arch, search=dict(max_tokens=21))
    head = dict(type='beit3_mm.CaptionHead', embed_dims=24, vocab_size=41)
    with pytest.raises(ValueError, match='vocab_size=40, the head vocab_size'):
        MODELS.build(
            dict(
                type='beit3_mm.ImageToText',
                backbone=dict(tiny_arch, vocab_size=40),
                head=head,
            )
        )
