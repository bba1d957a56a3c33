# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Gradients in chunks, padding and frozen parts, in a `DualEncoder`."""

import pytest
import torch
from dual_encoders import LENGTHS, assert_equal, batch, build, gradients, texts

from beit3_mm.layers.drop_path import DropPath
from beit3_mm.models.multimodal import embedding


@pytest.fixture(params=['released', 'paper'])
def arch(request, tiny_arch, paper_form):
    return tiny_arch | (paper_form if request.param == 'paper' else {})


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
