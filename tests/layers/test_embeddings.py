# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from beit3_mm.layers.embeddings import (
    TextEmbedding,
    VisionEmbedding,
    resize_patch_embedding,
    resize_positions,
    table_side,
)


def vision_embedding(**options):
    torch.manual_seed(0)
    embedding = VisionEmbedding(16, 4, 6, **options)
    for parameter in embedding.parameters():
        torch.nn.init.normal_(parameter)
    return embedding


def test_positions_start_at_index_two():
    embedding = vision_embedding()
    image = torch.zeros(1, 3, 16, 16)
    table = embedding.positions.weight
    x = embedding(image)
    torch.testing.assert_close(x[0, 0], embedding.cls_token[0, 0] + table[2])
    torch.testing.assert_close(x[0, 1:], embedding.proj.bias + table[3:])


def test_without_cls_token_only_patches_remain():
    with_cls = vision_embedding()
    without = vision_embedding(with_cls_token=False)
    without.load_state_dict(with_cls.state_dict(), strict=False)
    image = torch.randn(2, 3, 16, 16)
    assert torch.equal(without(image), with_cls(image)[:, 1:])
    assert 'cls_token' not in without.state_dict()


def test_masked_patches_become_the_mask_token():
    embedding = vision_embedding()
    image = torch.randn(2, 3, 16, 16)
    image_mask = torch.zeros(2, 16, dtype=torch.bool)
    image_mask[0, 3] = True
    plain, masked = embedding(image), embedding(image, image_mask)
    expected = embedding.mask_token[0, 0] + embedding.positions.weight[3 + 3]
    torch.testing.assert_close(masked[0, 1 + 3], expected)
    plain[0, 1 + 3] = masked[0, 1 + 3]
    assert torch.equal(plain, masked)


def test_incomplete_patches_are_padded_with_zeros():
    embedding = vision_embedding(with_cls_token=False)
    image = torch.randn(1, 3, 13, 15)
    padded = torch.zeros(1, 3, 16, 16)
    padded[..., :13, :15] = image
    assert embedding.grid(image) == (4, 4)
    assert torch.equal(embedding(image), embedding(padded))


def test_positions_are_resized_in_float32_like_a_map():
    table = torch.randn(3 + 16, 5)
    resized = resize_positions(table, (4, 4), (6, 3))
    patches = table[3:].T.reshape(1, 5, 4, 4)
    expected = torch.nn.functional.interpolate(
        patches, (6, 3), mode='bicubic', align_corners=False
    )
    assert torch.equal(resized[:3], table[:3])
    assert torch.equal(resized[3:], expected[0].flatten(1).T)
    half = resize_positions(table.half(), (4, 4), (6, 3))
    assert half.dtype == torch.half
    exact = resize_positions(table.half().float(), (4, 4), (6, 3))
    assert torch.equal(half, exact.half())
    assert resize_positions(table, (4, 4), (4, 4)) is table


def test_vision_errors():
    with pytest.raises(ValueError, match='img_size=30'):
        VisionEmbedding(30, 4, 6)
    embedding = vision_embedding()
    with pytest.raises(ValueError, match=r'\(1, 9\)'):
        embedding(
            torch.zeros(1, 3, 16, 16), torch.zeros(1, 9, dtype=torch.bool)
        )
    with pytest.raises(ValueError, match='with_mask_token=False'):
        vision_embedding(with_mask_token=False)(
            torch.zeros(1, 3, 16, 16), torch.zeros(1, 16, dtype=torch.bool)
        )


def test_text_positions_and_padding():
    embedding = TextEmbedding(11, 8, 6)
    ids = torch.tensor([[3, 5, 1]])
    padding = torch.tensor([[False, False, True]])
    x = embedding(ids, padding)
    words, positions = embedding.words.weight, embedding.positions.weight
    torch.testing.assert_close(x[0, :2], words[[3, 5]] + positions[2:4])
    assert not x[0, 2].any()
    later = embedding(ids[:, :1], positions=torch.tensor([4]))
    torch.testing.assert_close(later[0, 0], words[3] + positions[6])


def test_a_text_too_long_is_refused():
    embedding = TextEmbedding(11, 8, 6)
    assert embedding(torch.zeros(1, 6, dtype=torch.long)).shape == (1, 6, 6)
    with pytest.raises(ValueError, match=r'7 tokens .* 6 positions'):
        embedding(torch.zeros(1, 7, dtype=torch.long))


def test_patches_are_resized_in_float32():
    weight = torch.randn(5, 3, 14, 14)
    resized = resize_patch_embedding(weight.half(), 16)
    assert resized.shape == (5, 3, 16, 16)
    assert resized.dtype == torch.half
    expected = torch.nn.functional.interpolate(
        weight.half().float(), 16, mode='bicubic', align_corners=False
    )
    assert torch.equal(resized, expected.half())
    assert resize_patch_embedding(weight, 14) is weight


def test_sides_of_tables():
    assert [table_side(3 + n) for n in (1, 16, 196, 15, 0, -2)] == [
        *(1, 4, 14),
        *(None, None, None),
    ]


@pytest.mark.parametrize('dtype', [torch.float32, torch.half])
def test_other_sizes_fit_when_they_are_loaded(dtype):
    source = VisionEmbedding(32, 8, 6).to(dtype)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    state = source.state_dict()
    shapes = {name: x.shape for name, x in state.items()}
    target = VisionEmbedding(24, 4, 6)
    target.load_state_dict(state)  # strictly
    assert shapes == {name: x.shape for name, x in state.items()}
    assert torch.equal(
        target.positions.weight,
        resize_positions(source.positions.weight.float(), (4, 4), (6, 6)),
    )
    assert torch.equal(
        target.proj.weight,
        resize_patch_embedding(source.proj.weight.float(), 4),
    )
    assert torch.equal(target.cls_token, source.cls_token.float())
    same = VisionEmbedding(32, 8, 6)
    same.load_state_dict(state)
    for name, value in same.state_dict().items():
        assert torch.equal(value, state[name].float())


def test_tables_that_make_no_square_do_not_fit():
    state = VisionEmbedding(32, 8, 6).state_dict()
    state['positions.weight'] = torch.zeros(18, 6)
    with pytest.raises(RuntimeError, match='size mismatch for positions'):
        VisionEmbedding(24, 8, 6).load_state_dict(state)
