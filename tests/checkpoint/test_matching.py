# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
import visual_tokenizers
from official_weights import ARCH, TEXTS, official

from beit3_mm.checkpoint import (
    VQKD,
    CheckpointError,
    check_encoder,
    encoder_weights,
    match_names,
    match_tokenizer,
    model_weights,
)
from beit3_mm.models.beit3 import BEiT3

WEIGHTS = {'a': torch.zeros(1)}


@pytest.mark.parametrize(
    'checkpoint',
    [
        WEIGHTS,
        {'state_dict': WEIGHTS, 'meta': {'model': {}}},
        {'model': WEIGHTS, 'epoch': 3},
        {'module': WEIGHTS, 'lr_scheduler': None},
    ],
)
def test_weights_are_found_in_a_checkpoint(checkpoint):
    assert model_weights(checkpoint) is WEIGHTS or checkpoint is WEIGHTS
    assert set(model_weights(checkpoint)) == {'a'}


def test_the_encoder_alone():
    weights = official('vqa')
    encoder = encoder_weights(weights)
    model = BEiT3(**ARCH, **TEXTS, final_norm=False)
    model.load_state_dict(encoder)  # strictly
    inside = {f'model.backbone.{k}': v for k, v in encoder.items()}
    again = encoder_weights(inside | {'model.head.bias': torch.zeros(1)})
    assert again.keys() == encoder.keys()


def test_files_without_an_encoder_or_with_several():
    with pytest.raises(CheckpointError, match=r'found 0; .* fc\.weight'):
        encoder_weights({'fc.weight': torch.zeros(1)})
    twice = {
        f'{name}.vision_embedding.proj.weight': torch.zeros(1)
        for name in ('student', 'teacher')
    }
    with pytest.raises(CheckpointError, match='found 2'):
        encoder_weights(twice)
    # None of them is the model's.
    matched = match_names(twice, ['backbone.vision_embedding.proj.weight'])
    assert matched == {name: name for name in twice}


def check(weights, **arch):
    model = BEiT3(**(dict(ARCH, **TEXTS) | arch)).state_dict()
    names = match_names(weights, model)
    renamed = {new: weights[old] for old, new in names.items()}
    check_encoder(renamed, model, 'a.pth')


def test_other_sizes_that_can_be_resized_are_accepted():
    weights = official(None)
    check(weights)
    check(weights, img_size=64)
    check(weights, patch_size=4)
    check(weights, vocab_size=9, max_text_positions=7)
    check(weights, num_layers=4)  # the report lists the two others


@pytest.mark.parametrize(
    ('arch', 'message'),
    [
        (
            dict(embed_dims=48, num_layers=3),
            '24 channels, 2 layers, patch 8, the released form there, 48 '
            'channels, 3 layers, patch 8, the released form here',
        ),
        (
            dict(feedforward_channels=36),
            r'20 weights .* encoder\.layers\.0\.ffn\.vision\.fc1\.weight: '
            r'\(48, 24\) in the checkpoint, \(36, 24\) in the model',
        ),
        (
            dict(multiway_attention=False, sub_norm=False),
            "the released form there, .* the paper's form here$",
        ),
    ],
)
def test_encoders_of_another_kind_are_refused(arch, message):
    with pytest.raises(CheckpointError, match=f'a.pth does not .*{message}'):
        check(official(None), **arch)


def test_positions_that_make_no_square_are_refused():
    weights = official(None)
    name = 'beit3.encoder.embed_positions.A.weight'
    weights[name] = weights[name][:-1]
    with pytest.raises(CheckpointError, match=r'\(18, 24\) are no square'):
        check(weights)


def test_names_of_a_visual_tokenizer_both_ways(golden):
    official_weights = visual_tokenizers.official(golden('vqkd')[1])
    model = visual_tokenizers.build()
    names = match_tokenizer(official_weights, model.state_dict())
    # `idle_steps` is ours alone; two names of theirs we have no use for.
    assert set(model.state_dict()) - set(names.values()) == {
        'quantizer.idle_steps'
    }
    assert sorted(set(names.values()) - set(model.state_dict())) == [
        'quantize.embedding.cluster_size',
        'quantize.embedding.embed_avg',
    ]
    for old, new in names.items():
        if new in model.state_dict():
            assert VQKD.to_official(new) == old
    inside = {f'tokenizer.{name}': 0 for name in model.state_dict()}
    names = match_tokenizer(official_weights, inside)
    assert names['encoder.pos_embed'] == 'tokenizer.encoder.positions'
    names = match_tokenizer(inside, model.state_dict())
    assert set(names.values()) == set(model.state_dict())
    assert match_tokenizer(inside, ['backbone.encoder.a']) == {}
    assert match_tokenizer(['backbone.encoder.a'], inside) == {}
