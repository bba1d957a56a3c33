# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from beit3_mm.engine.loading import load_weights
from beit3_mm.layers.masks import image_to_text_mask
from beit3_mm.models.beit3 import BEiT3

MODEL_KEYS = (
    'embed_dims',
    'num_layers',
    'num_heads',
    'feedforward_channels',
    'img_size',
    'patch_size',
    'vocab_size',
    'max_text_positions',
)


@pytest.fixture
def official(golden):
    """Returns a model with official weights, and the golden tensors."""
    config, tensors = golden('beit3_tiny_retrieval')
    model = BEiT3(**{key: config[key] for key in MODEL_KEYS}).eval()
    weights = {
        name.removeprefix('weights/'): tensor
        for name, tensor in tensors.items()
        if name.startswith('weights/')
    }
    report = load_weights(model, weights, 'golden')
    assert report.complete
    assert set(report.unexpected) == {
        'logit_scale',
        'language_head.weight',
        'vision_head.weight',
    }
    return model, tensors


IMAGE = dict(image='image')
TEXT = dict(text_ids='text_ids', text_padding_mask='text_padding_mask')
MASK = dict(image_mask='vision_masked_position')


@pytest.mark.parametrize(
    'output, inputs',
    [
        ('image', IMAGE),
        ('image_masked', {**IMAGE, **MASK}),
        ('text', TEXT),
        ('fused', {**IMAGE, **TEXT}),
        ('fused_masked', {**IMAGE, **TEXT, **MASK}),
    ],
)
@torch.no_grad()
def test_agreement_with_the_official_encoder(official, output, inputs):
    model, tensors = official
    result = model(**{key: tensors[name] for key, name in inputs.items()})
    parts = [x for x in (result.vision, result.language) if x is not None]
    torch.testing.assert_close(
        torch.cat(parts, 1), tensors[f'out/{output}'], rtol=0, atol=1e-5
    )
    assert (result.vision is None) == ('image' not in inputs)
    assert (result.language is None) == ('text_ids' not in inputs)
    assert result.cache is None


def build(arch, **options):
    torch.manual_seed(0)
    model = BEiT3(**arch, vocab_size=50, max_text_positions=20, **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def sample(batch=2, length=6):
    torch.manual_seed(1)
    return dict(
        image=torch.randn(batch, 3, 32, 32),
        text_ids=torch.randint(3, 50, (batch, length)),
    )


@pytest.mark.parametrize('form', ['released', 'paper'])
@torch.no_grad()
def test_padding_changes_no_real_token(tiny_arch, paper_form, form):
    model = build(tiny_arch, **(paper_form if form == 'paper' else {}))
    inputs = sample()
    plain = model(**inputs)
    inputs['text_ids'] = torch.nn.functional.pad(
        inputs['text_ids'], (0, 3), value=1
    )
    padding = torch.zeros(2, 9, dtype=torch.bool)
    padding[:, 6:] = True
    padded = model(**inputs, text_padding_mask=padding)
    torch.testing.assert_close(padded.vision, plain.vision)
    torch.testing.assert_close(padded.language[:, :6], plain.language)


@pytest.mark.parametrize('form', ['released', 'paper'])
@torch.no_grad()
def test_a_batch_of_two_equals_two_batches_of_one(tiny_arch, paper_form, form):
    model = build(tiny_arch, **(paper_form if form == 'paper' else {}))
    inputs = sample()
    together = model(**inputs)
    for i in range(2):
        alone = model(**{key: x[i : i + 1] for key, x in inputs.items()})
        for name in ('vision', 'language'):
            torch.testing.assert_close(
                getattr(alone, name)[0], getattr(together, name)[i]
            )


@pytest.mark.parametrize('form', ['released', 'paper'])
@torch.no_grad()
def test_cached_decoding_equals_one_pass(tiny_arch, paper_form, form):
    model = build(tiny_arch, **(paper_form if form == 'paper' else {}))
    inputs = sample(length=4)
    whole = model(**inputs, attn_mask=image_to_text_mask(17, 4))
    step = model(inputs['image'], cache=())
    torch.testing.assert_close(step.vision, whole.vision)
    for i in range(4):
        step = model(
            text_ids=inputs['text_ids'][:, i : i + 1],
            text_positions=torch.tensor([i]),
            cache=step.cache,
        )
        torch.testing.assert_close(step.language[:, 0], whole.language[:, i])
    assert all(len(segments) == 5 for segments in step.cache)


@torch.no_grad()
def test_images_of_any_size(tiny_arch):
    model = build(tiny_arch)
    assert model(torch.randn(1, 3, 45, 20)).vision.shape == (1, 1 + 18, 24)


@pytest.mark.parametrize('form', ['released', 'paper'])
@pytest.mark.parametrize('names', ['image', 'text_ids', 'image text_ids'])
@torch.no_grad()
def test_first_tokens_are_those_of_all(tiny_arch, paper_form, form, names):
    model = build(tiny_arch, **(paper_form if form == 'paper' else {}))
    inputs = {name: sample()[name] for name in names.split()}
    if 'text_ids' in inputs:
        inputs['text_padding_mask'] = torch.arange(6).expand(2, 6) > 3
    widths = []
    model.encoder.layers[-1].ffn.register_forward_hook(
        lambda _, args, output: widths.append(output.shape[1])
    )
    whole = model(**inputs)
    first = model(**inputs, first_tokens=True)
    for all_tokens, token in zip(whole[:2], first[:2]):
        assert (all_tokens is None) == (token is None)
        if token is not None:
            torch.testing.assert_close(token, all_tokens[:, :1])
    assert widths[1] == len(names.split())  # nothing else is computed


def test_gradients_reach_every_parameter(tiny_arch, paper_form):
    for form in ({}, paper_form):
        model = build(tiny_arch, **form).train()
        inputs = sample()
        image_mask = torch.arange(16).expand(2, 16) % 3 == 0
        fused = model(**inputs, image_mask=image_mask)
        image = model(inputs['image'])
        text = model(text_ids=inputs['text_ids'])
        loss = sum(
            x.square().sum()
            for output in (fused, image, text)
            for x in (output.vision, output.language)
            if x is not None
        )
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            if not (name.endswith('bias') and 'k_proj' in name):
                assert parameter.grad.abs().max() > 0, name


def test_errors(tiny_arch):
    model = build(tiny_arch)
    with pytest.raises(ValueError, match='image, text_ids or both'):
        model()
    with pytest.raises(ValueError, match='image_mask given without'):
        model(
            text_ids=torch.tensor([[3]]),
            image_mask=torch.zeros(1, 16, dtype=torch.bool),
        )
    with pytest.raises(ValueError, match='text_padding_mask given without'):
        model(
            torch.randn(1, 3, 32, 32),
            text_padding_mask=torch.zeros(1, 4, dtype=torch.bool),
        )
    with pytest.raises(ValueError, match='first_tokens takes no attn_mask'):
        model(
            text_ids=torch.tensor([[3, 4]]),
            attn_mask=torch.ones(2, 2, dtype=torch.bool),
            first_tokens=True,
        )
    with pytest.raises(ValueError, match='takes no text_padding_mask'):
        model(
            text_ids=torch.tensor([[3, 1]]),
            text_padding_mask=torch.tensor([[False, True]]),
            cache=(),
        )
