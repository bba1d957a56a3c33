# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from dual_encoders import LENGTHS, batch, build, texts
from mmengine.structures import BaseDataElement

from beit3_mm.engine.loading import load_weights
from beit3_mm.registry import MODELS


@pytest.fixture(params=['released', 'paper'])
def arch(request, tiny_arch, paper_form):
    return tiny_arch | (paper_form if request.param == 'paper' else {})


def samples(*num_texts):
    return [
        BaseDataElement(metainfo=dict(num_texts=number))
        for number in num_texts
    ]


@torch.no_grad()
@pytest.mark.parametrize('chunk_size', [None, 2])
def test_predictions_encode_each_image_and_text_once(arch, chunk_size):
    model = build(arch, chunk_size).eval()
    encoded = []
    model.backbone.register_forward_hook(
        lambda _, args, output: encoded.append(
            [0 if x is None else len(x) for x in output[:2]]
        )
    )
    inputs = dict(image=batch()['image'][:3], **texts(*LENGTHS))
    result = model(inputs, samples(3, 1, 2), mode='predict')
    assert [sum(x) for x in zip(*encoded)] == [3, 6]
    image, text = model(inputs)
    torch.testing.assert_close(
        torch.stack([sample.image_embedding for sample in result]), image
    )
    assert [len(x.text_embeddings) for x in result] == [3, 1, 2]
    torch.testing.assert_close(
        torch.cat([sample.text_embeddings for sample in result]), text
    )
    torch.testing.assert_close(text.norm(dim=1), torch.ones(6))


@torch.no_grad()
def test_one_modality_is_enough_for_predictions(tiny_arch):
    model = build(tiny_arch).eval()
    image = dict(image=batch()['image'][:1])
    (sample,) = model(image, samples(0), mode='predict')
    assert sample.image_embedding.shape == (24,)
    assert 'text_embeddings' not in sample
    result = model(texts(4, 3), [BaseDataElement() for _ in '12'], 'predict')
    assert [x.text_embeddings.shape for x in result] == [(1, 24)] * 2


def test_many_texts_are_grouped_by_length(tiny_arch, monkeypatch):
    from beit3_mm.models.multimodal import dual_encoder

    monkeypatch.setattr(dual_encoder, 'TEXTS_OF_A_GROUP', 4)
    model = build(tiny_arch).eval()
    shapes = []
    model.backbone.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(kwargs['text_ids'].shape),
        with_kwargs=True,
    )
    with torch.no_grad():
        model(texts(*LENGTHS), samples(6), 'predict')
    assert shapes == [(4, 9), (2, 4)]


def test_errors(tiny_arch):
    model, inputs = build(tiny_arch), batch()
    with pytest.raises(ValueError, match='give an image, text_ids or both'):
        model(dict(image=None))
    with pytest.raises(ValueError, match=r"needs \['text_ids'\] as well"):
        model(dict(image=inputs['image']), mode='loss')
    with pytest.raises(ValueError, match='6 images and 2 texts'):
        model(dict(image=inputs['image'], **texts(3, 4)), mode='loss')
    with pytest.raises(ValueError, match="'predict' needs data_samples"):
        model(inputs, mode='predict')
    with pytest.raises(ValueError, match="mode='tea' must be"):
        model(inputs, mode='tea')
    with pytest.raises(ValueError, match='chunk_size=0 must be 1 or more'):
        build(tiny_arch, 0)


@torch.no_grad()
def test_agreement_with_the_official_model(golden):
    config, tensors = golden('beit3_tiny_retrieval')
    keys = ('embed_dims', 'num_layers', 'num_heads', 'feedforward_channels')
    keys += ('img_size', 'patch_size', 'vocab_size', 'max_text_positions')
    model = MODELS.build(
        dict(
            type='beit3_mm.DualEncoder',
            backbone={key: config[key] for key in keys},
            head=dict(type='beit3_mm.ContrastiveHead', embed_dims=32),
            chunk_size=2,
        )
    ).eval()
    weights = {
        name.removeprefix('weights/'): tensor
        for name, tensor in tensors.items()
        if name.startswith('weights/')
    }
    report = load_weights(model, weights, 'golden')
    assert report.complete
    assert not report.unexpected
    names = ('image', 'text_ids', 'text_padding_mask')
    inputs = {name: tensors[name] for name in names}
    image, text = model(inputs)
    loss = model(inputs, mode='loss')['loss']
    for name, actual in (
        ('image_embedding', image),
        ('text_embedding', text),
        ('contrastive_loss', loss),
    ):
        torch.testing.assert_close(
            actual, tensors[f'out/{name}'], rtol=0, atol=1e-5
        )
