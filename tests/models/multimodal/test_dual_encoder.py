# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch
from mmengine.structures import BaseDataElement

from beit3_mm.checkpoint import convert_official
from beit3_mm.layers.drop_path import DropPath
from beit3_mm.models.multimodal import DualEncoder, embedding
from beit3_mm.registry import MODELS

SIZE, NUM_WORDS = 6, 50
LENGTHS = (4, 9, 3, 6, 6, 9)


@pytest.fixture(params=['released', 'paper'])
def arch(request, tiny_arch, paper_form):
    return tiny_arch | (paper_form if request.param == 'paper' else {})


def build(arch, chunk_size=None, drop_path_rate=0.0, dtype=torch.float32):
    torch.manual_seed(0)
    model = DualEncoder(
        dict(
            arch,
            vocab_size=NUM_WORDS,
            max_text_positions=20,
            drop_path_rate=drop_path_rate,
        ),
        dict(type='beit3_mm.ContrastiveHead', embed_dims=arch['embed_dims']),
        chunk_size,
    )
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.to(dtype).train()


def texts(*lengths):
    """Returns ids and the padding mask of texts of these lengths."""
    generator = torch.Generator().manual_seed(len(lengths))
    shape = len(lengths), max(lengths)
    ids = torch.randint(3, NUM_WORDS, shape, generator=generator)
    padding = torch.arange(shape[1]) >= torch.tensor(lengths)[:, None]
    return dict(
        text_ids=ids.masked_fill(padding, 1), text_padding_mask=padding
    )


def batch(dtype=torch.float32):
    torch.manual_seed(1)
    image = torch.randn(SIZE, 3, 32, 32, dtype=dtype)
    return dict(image=image, **texts(*LENGTHS))


def samples(*num_texts):
    return [
        BaseDataElement(metainfo=dict(num_texts=number))
        for number in num_texts
    ]


def gradients(model, inputs, seed=2):
    """Returns the loss and each trained parameter's gradient."""
    model.zero_grad()
    torch.manual_seed(seed)
    loss = model(inputs, mode='loss')['loss']
    loss.backward()
    return loss.detach(), {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def assert_equal(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


def keep_everything(enabled, function, *args):
    """Stands in for `recompute`."""
    return function(*args)


@pytest.mark.parametrize('chunk_size', [1, 2, 4, 100])
def test_chunks_give_the_gradient_of_the_whole_batch(arch, chunk_size):
    inputs = batch()
    whole = gradients(build(arch), inputs)
    chunked = gradients(build(arch, chunk_size), inputs)
    assert_equal(chunked, whole)
    assert whole[1]['head.logit_scale'].abs() > 1e-3


def test_recomputed_chunks_replay_drop_path(arch, monkeypatch):
    inputs = batch()
    model = build(arch, 2, drop_path_rate=0.3)
    recomputed = gradients(model, inputs)
    other = gradients(model, inputs, seed=3)
    monkeypatch.setattr(embedding, 'recompute', keep_everything)
    kept = gradients(model, inputs)
    assert_equal(recomputed, kept)
    # Paths were dropped, by chance.
    assert (other[0] - kept[0]).abs() > 1e-3
    assert (gradients(build(arch, 2), inputs)[0] - kept[0]).abs() > 1e-3


@pytest.mark.parametrize('chunk_size', [2, 4])
def test_the_gradient_with_drop_path_is_that_of_one_batch(
    arch, chunk_size, monkeypatch
):
    """Both sides drop the same paths: what the chunks draw in the forward
    pass is noted and given to the whole batch.
    """
    inputs = batch()
    model = build(arch, chunk_size, drop_path_rate=0.3)
    noted = {}

    def note(self, x):
        keep = torch.bernoulli(torch.full((len(x), 1, 1), 1 - self.rate))
        noted.setdefault(self, []).append(keep)
        return x * keep / (1 - self.rate)

    monkeypatch.setattr(DropPath, 'forward', note)
    chunked = gradients(model, inputs)

    # Behind the draws of the forward pass come those of the backward pass;
    # it holds images, then texts, and of each chunk attention, then the
    # feed-forward network.
    draws, call = {}, dict.fromkeys(noted, 0)
    for module, kept in noted.items():
        quarter = len(kept) // 4
        draws[module] = [
            torch.cat(part[branch::2])
            for part in (kept[:quarter], kept[quarter : 2 * quarter])
            for branch in range(2)
        ]
    assert any((x == 0).any() for kept in draws.values() for x in kept)

    def replay(self, x):
        keep = draws[self][call[self]]
        call[self] += 1
        return x * keep / (1 - self.rate)

    monkeypatch.setattr(DropPath, 'forward', replay)
    model.chunk_size = None
    whole = gradients(model, inputs)
    assert set(call.values()) == {4}
    assert_equal(chunked, whole)


def test_only_a_chunk_is_in_memory(tiny_arch):
    inputs = batch()
    kept = {}
    for chunk_size in (None, 2):
        model = build(tiny_arch, chunk_size)
        given = {x.data_ptr() for x in (*model.parameters(), *inputs.values())}
        sizes = {}

        def pack(tensor, given=given, sizes=sizes):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in given:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        encoded = []
        model.backbone.register_forward_hook(
            lambda _, args, output, encoded=encoded: encoded.append(
                sum(x is not None and len(x) for x in output[:2])
            )
        )
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = model(inputs, mode='loss')['loss']
        kept[chunk_size] = sum(sizes.values())
        loss.backward()
        if chunk_size:
            assert encoded == [2] * 12  # 3 chunks, 2 modalities, 2 passes
        else:
            assert encoded == [6, 6]
    assert kept[2] < kept[None] / 50


def test_layers_may_be_recomputed_within_a_chunk(arch):
    inputs = batch()
    expected = gradients(build(arch, 2, drop_path_rate=0.3), inputs)
    model = build(dict(arch, with_cp=True), 2, drop_path_rate=0.3)
    assert_equal(gradients(model, inputs), expected)


def test_autocast_in_chunks(arch, monkeypatch):
    inputs = batch()
    model = build(arch, 2, drop_path_rate=0.3)
    with torch.autocast('cpu', torch.bfloat16):
        recomputed = gradients(model, inputs)
        monkeypatch.setattr(embedding, 'recompute', keep_everything)
        kept = gradients(model, inputs)
    torch.testing.assert_close(recomputed, kept, rtol=0, atol=1e-3)


def test_gradients_reach_every_parameter(arch):
    for chunk_size in (None, 4):
        _, found = gradients(build(arch, chunk_size), batch())
        for name, gradient in found.items():
            assert gradient is not None, name
            if not (name.endswith('bias') and 'k_proj' in name):
                assert gradient.abs().max() > 0, name


def test_only_what_is_never_used_is_frozen(arch):
    frozen = {
        name
        for name, parameter in build(arch).named_parameters()
        if not parameter.requires_grad
    }
    assert 'backbone.vision_embedding.mask_token' in frozen
    frozen.remove('backbone.vision_embedding.mask_token')
    assert len(frozen) == (0 if arch.get('multiway_attention', True) else 6)
    assert all('.ffn.vision_language.' in name for name in frozen)


@torch.no_grad()
def test_padding_and_company_change_no_text(arch):
    model = build(arch).eval()
    inputs = texts(*LENGTHS)
    _, together = model(inputs)
    for i, length in enumerate(LENGTHS):
        alone = model(dict(text_ids=inputs['text_ids'][i : i + 1, :length]))
        assert alone.image is None
        torch.testing.assert_close(alone.text[0], together[i])


@torch.no_grad()
def test_texts_are_padded_to_the_longest_of_their_chunk(tiny_arch):
    model = build(tiny_arch, 2).eval()
    seen = []
    model.backbone.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    model(texts(*LENGTHS))
    assert [x['text_ids'].shape for x in seen] == [(2, 9), (2, 6), (2, 4)]
    # Nothing is masked where nothing is padded.
    masks = [x['text_padding_mask'] for x in seen]
    assert masks[:2] == [None, None]
    assert masks[2].sum() == 1


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
    model.backbone.load_state_dict(convert_official(weights)[0])
    model.head.load_state_dict(
        {
            'vision_proj.weight': weights['vision_head.weight'],
            'language_proj.weight': weights['language_head.weight'],
            'logit_scale': weights['logit_scale'],
        }
    )
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
