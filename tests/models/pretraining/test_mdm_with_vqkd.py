# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Masked data modeling with a real visual tokenizer."""

import masked_modeling
import pytest
import torch
import visual_tokenizers
from masked_modeling import batch, total

from beit3_mm.registry import MODELS

NUM_CODES = 24
# The tokenizer's patches have 8 pixels here, 4 in each direction.
VIEWS = dict(image=32, pair=32)


@pytest.fixture
def tokenizer(tmp_path):
    """Returns a config of a tokenizer with weights in a file."""
    model = visual_tokenizers.build()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.quantizer.start(model.vectors(torch.rand(6, 3, 32, 32)))
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'vqkd.pth')
    # The decoder is not needed, and not built.
    return visual_tokenizers.config(
        num_decoder_layers=0,
        init_cfg=visual_tokenizers.pretrained(tmp_path / 'vqkd.pth'),
    )


@pytest.fixture
def model(tiny_arch, tokenizer):
    config = masked_modeling.config(tiny_arch, visual_tokenizer=tokenizer)
    config['head']['num_visual_codes'] = NUM_CODES
    torch.manual_seed(0)
    return MODELS.build(config)


def inputs():
    found = batch(views=True)
    for kind, side in VIEWS.items():
        view = found[kind]['tokenizer_image'][..., :side, :side]
        found[kind]['tokenizer_image'] = view
    return found


def test_targets_are_the_codes_of_the_file(model, tokenizer):
    model.init_weights()
    found = model.target_ids(inputs())
    own = MODELS.build(tokenizer)
    own.init_weights()
    for kind, part in (('image', 'image'), ('pair', 'pair_image')):
        x = inputs()[kind]
        ids = own.eval().encode_ids(x['tokenizer_image'])
        assert len(ids.unique()) > 3
        assert torch.equal(found[part], ids[x['image_mask']])


def test_training_leaves_the_tokenizer_alone(model):
    model.init_weights()
    tokenizer = model.train().visual_tokenizer
    before = {k: x.clone() for k, x in tokenizer.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = total(model(inputs(), mode='loss'))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not [x for x in model.state_dict() if 'tokenizer' in x]


@pytest.mark.parametrize('number', [NUM_CODES - 1, NUM_CODES + 8])
def test_head_and_tokenizer_must_have_the_same_codes(
    tiny_arch, tokenizer, number
):
    config = masked_modeling.config(tiny_arch, visual_tokenizer=tokenizer)
    config['head']['num_visual_codes'] = number
    with pytest.raises(ValueError, match=f'=24, the head .*codes={number}:'):
        MODELS.build(config)


def test_a_missing_file_is_named(tiny_arch, tokenizer):
    tokenizer['init_cfg']['checkpoint'] = 'gone.pth'
    config = masked_modeling.config(tiny_arch, visual_tokenizer=tokenizer)
    config['head']['num_visual_codes'] = NUM_CODES
    model = MODELS.build(config)
    with pytest.raises(FileNotFoundError, match=r'file gone.*tokenizer\.md'):
        model.init_weights()
    with pytest.raises(FileNotFoundError, match=r'file gone.*tokenizer\.md'):
        model(inputs(), mode='loss')
