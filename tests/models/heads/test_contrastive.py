# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement

from beit3_mm.models.heads import ContrastiveHead
from beit3_mm.registry import MODELS


@pytest.fixture
def head():
    torch.manual_seed(0)
    return MODELS.build(dict(type='beit3_mm.ContrastiveHead', embed_dims=8))


def test_embeddings_are_unit_vectors_of_the_first_token(head):
    tokens = torch.randn(3, 5, 8)
    for embed, proj in (
        (head.embed_image, head.vision_proj),
        (head.embed_text, head.language_proj),
    ):
        embedding = embed(tokens)
        expected = tokens[:, 0] @ proj.weight.T
        torch.testing.assert_close(
            embedding, expected / expected.norm(dim=1, keepdim=True)
        )
        changed = tokens.clone()
        changed[:, 1:] += 1
        assert torch.equal(embed(changed), embedding)
    assert not torch.equal(head.embed_image(tokens), head.embed_text(tokens))


def test_the_scale_starts_at_the_inverse_of_the_temperature(head):
    assert head.logit_scale.shape == (1,)
    assert head.state_dict()['logit_scale'].shape == ()
    assert head.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert {name for name, _ in head.named_parameters()} == {
        *('vision_proj.weight', 'language_proj.weight', 'logit_scale')
    }


def test_the_loss_by_hand(head):
    # Two orthogonal texts; the first image is halfway, the second one right.
    text = torch.eye(8)[:2]
    image = torch.stack([F.normalize(text.sum(0), dim=0), text[1]])
    cosine = torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]) / 0.07
    to_text = -cosine.log_softmax(1).diag().mean()
    to_image = -cosine.log_softmax(0).diag().mean()
    loss = head.loss(image, text)
    assert set(loss) == {'loss'}
    torch.testing.assert_close(loss['loss'], (to_text + to_image) / 2)


def test_gradients_reach_every_parameter(head):
    image = head.embed_image(torch.randn(4, 2, 8))
    text = head.embed_text(torch.randn(4, 2, 8))
    head.loss(image, text)['loss'].backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_autocast_rounds_nothing(head):
    tokens = torch.randn(4, 2, 8)

    def compute():
        image, text = head.embed_image(tokens), head.embed_text(tokens)
        return image, text, head.loss(image, text)['loss']

    expected = compute()
    with torch.autocast('cpu', torch.bfloat16):
        actual = compute()
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    # Tokens of a model in bfloat16
    with torch.autocast('cpu', torch.bfloat16):
        assert head.embed_image(tokens.bfloat16()).dtype == torch.float32


def samples(*num_texts):
    return [
        BaseDataElement(metainfo={} if n is None else dict(num_texts=n))
        for n in num_texts
    ]


def test_each_sample_gets_its_own(head):
    image, text = torch.randn(3, 8), torch.randn(4, 8)
    result = head.predict(image, text, samples(2, None, 1))
    assert torch.equal(
        torch.stack([sample.image_embedding for sample in result]), image
    )
    assert [len(sample.text_embeddings) for sample in result] == [2, 1, 1]
    assert torch.equal(
        torch.cat([sample.text_embeddings for sample in result]), text
    )


def test_either_modality_alone(head):
    (sample,) = head.predict(torch.randn(1, 8), None, samples(3))
    assert 'image_embedding' in sample
    assert 'text_embeddings' not in sample
    first, second = head.predict(None, torch.randn(2, 8), samples(2, 0))
    assert 'image_embedding' not in first
    assert first.text_embeddings.shape == (2, 8)
    assert second.text_embeddings.shape == (0, 8)


def test_numbers_that_do_not_fit(head):
    with pytest.raises(ValueError, match='3 images and 2 texts are no pairs'):
        head.loss(torch.randn(3, 8), torch.randn(2, 8))
    with pytest.raises(ValueError, match='2 images do not fit 1 samples'):
        head.predict(torch.randn(2, 8), None, samples(1))
    with pytest.raises(ValueError, match='4 texts do not fit 3 in the sam'):
        head.predict(None, torch.randn(4, 8), samples(2, None))


def test_agreement_with_the_official_head(golden):
    _, tensors = golden('beit3_tiny_retrieval')
    head = ContrastiveHead(32)
    head.load_state_dict(
        {
            'vision_proj.weight': tensors['weights/vision_head.weight'],
            'language_proj.weight': tensors['weights/language_head.weight'],
            'logit_scale': tensors['weights/logit_scale'],
        }
    )
    image = head.embed_image(tensors['out/image'])
    text = head.embed_text(tensors['out/text'])
    for name, actual in (
        ('image_embedding', image),
        ('text_embedding', text),
        ('contrastive_loss', head.loss(image, text)['loss']),
    ):
        torch.testing.assert_close(
            actual, tensors[f'out/{name}'], rtol=0, atol=1e-5
        )
