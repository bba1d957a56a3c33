# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import math

import pytest
import torch
import torch.nn.functional as F

from beit3_mm.models.pretraining import HandcraftedTeacher

SIZE = 16


def stripes(angle, size=48):
    """Returns a grey image whose gradients have a direction, in degrees."""
    y, x = torch.meshgrid(
        torch.arange(float(size)), torch.arange(float(size)), indexing='ij'
    )
    angle = math.radians(angle)
    wave = torch.sin((x * math.cos(angle) + y * math.sin(angle)) / 3)
    return (0.5 + 0.3 * wave).expand(1, 3, size, size)


def middle(image):
    """Returns the channels of the patch in the middle of 3 x 3."""
    return HandcraftedTeacher()(image)[0, :, 1, 1]


def test_the_mean_colour_of_each_patch():
    image = torch.rand(2, 3, 32, 48)
    tokens = HandcraftedTeacher()(image)
    assert tokens.shape == (2, 3 + 9 * 4, 2, 3)
    patch = image[1, :, 16:32, 32:48].mean((1, 2))
    torch.testing.assert_close(tokens[1, :3, 1, 2], 2 * patch - 1)
    weighted = HandcraftedTeacher(colour_weight=3.0)(image)
    torch.testing.assert_close(weighted[:, :3], 3 * tokens[:, :3])
    torch.testing.assert_close(weighted[:, 3:], tokens[:, 3:])


@pytest.mark.parametrize('angle', [10, 30, 50, 90, 130, 170])
def test_directions_fall_into_their_bins(angle):
    histogram = middle(stripes(angle))[3:].view(9, 4).sum(1)
    assert histogram.argmax() in (angle // 20, angle // 20 + 1)
    assert histogram.topk(2).values.sum() > 0.8 * histogram.sum()


def test_directions_are_unsigned():
    image = stripes(40)
    torch.testing.assert_close(
        middle(image)[3:], middle(1 - image)[3:], rtol=0, atol=1e-4
    )


def test_a_cell_has_a_histogram_of_its_own():
    image = torch.full((1, 3, 16, 16), 0.5)
    image[..., :8, :8] = stripes(0, 8)
    histograms = HandcraftedTeacher()(image)[0, 3:, 0, 0].view(9, 2, 2)
    strongest = histograms.sum(0).flatten()
    assert strongest.argmax() == 0
    assert strongest[3] < 0.1 * strongest[0]


def test_noise_does_not_count_as_edges():
    torch.manual_seed(0)
    noise = 0.5 + 0.002 * torch.randn(1, 3, 48, 48)
    assert middle(noise)[3:].norm() < 0.2
    torch.testing.assert_close(
        middle(stripes(0))[3:].norm(), torch.tensor(1.0)
    )


def test_different_patches_are_told_apart():
    red, blue = torch.zeros(2, 1, 3, 48, 48)
    red[:, 0], blue[:, 2] = 1, 1
    similar = F.cosine_similarity(middle(red), middle(red * 0.9), dim=0)
    assert similar > 0.95
    assert F.cosine_similarity(middle(red), middle(blue), dim=0) < 0.2
    across = F.cosine_similarity(
        middle(stripes(0)), middle(stripes(90)), dim=0
    )
    assert across < 0.5


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match='must divide by cells=3'):
        HandcraftedTeacher(cells=3)
    with pytest.raises(ValueError, match=r'\(30, 32\) pixels do not divide'):
        HandcraftedTeacher()(torch.rand(1, 3, 30, 32))
