# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import pytest
import torch

from beit3_mm.layers.layer_norm_2d import LayerNorm2d
from beit3_mm.models.necks import SimpleFeaturePyramid


@pytest.fixture
def neck():
    torch.manual_seed(0)
    return SimpleFeaturePyramid(in_channels=16, out_channels=8)


def test_levels_have_strides_4_to_64(neck):
    first, last = torch.randn(2, 2, 16, 6, 4)
    levels = neck((first, last))
    assert [tuple(level.shape) for level in levels] == [
        (2, 8, 24, 16),
        (2, 8, 12, 8),
        (2, 8, 6, 4),
        (2, 8, 3, 2),
        (2, 8, 2, 1),
    ]
    for level, again in zip(levels, neck((last,))):
        assert torch.equal(level, again)  # only the last map counts
    assert torch.equal(levels[4], levels[3][..., ::2, ::2])


def test_every_level_ends_in_a_norm_over_channels(neck):
    for level in neck((torch.randn(1, 16, 4, 4),)):
        torch.testing.assert_close(
            level.mean(1), torch.zeros_like(level[:, 0]), atol=1e-5, rtol=0
        )


def test_finer_levels_keep_the_place_of_a_patch(neck):
    x = torch.zeros(1, 16, 8, 8, requires_grad=True)
    levels = neck((x + torch.randn(1, 16, 8, 8),))
    levels[0][0, 0, 5, 18].backward()  # stride 1/4: row 1, column 4
    touched = x.grad[0].abs().amax(0).nonzero()
    assert [1, 4] in touched.tolist()
    assert (touched - torch.tensor([1, 4])).abs().max() <= 1


def test_gradients_reach_every_parameter(neck):
    levels = neck((torch.randn(2, 16, 4, 4),))
    weights = [torch.randn_like(level) for level in levels]
    sum((x * w).sum() for x, w in zip(levels, weights)).backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_layer_norm_2d_normalises_channels_at_every_place():
    norm = LayerNorm2d(6)
    x = torch.randn(2, 6, 3, 5)
    expected = (x - x.mean(1, True)) / (
        x.var(1, correction=0, keepdim=True) + 1e-6
    ).sqrt()
    torch.testing.assert_close(norm(x), expected)
    channels_last = x.to(memory_format=torch.channels_last)
    assert norm(channels_last).is_contiguous(memory_format=torch.channels_last)
