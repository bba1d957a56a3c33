# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A teacher without weights: what can be counted in a patch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beit3_mm.registry import MODELS

EPS = 1e-6


@MODELS.register_module()
class HandcraftedTeacher(nn.Module):
    """Describes each patch by its mean colour and its gradients.

    For trials that shall need no download. A patch has
    `3 + num_bins * cells ** 2` channels: its mean colour, from -1 to 1, and
    in each of its cells a histogram of oriented gradients (Dalal and Triggs,
    2005): of the pixels' strongest channel, by its unsigned direction, with
    votes shared by the two nearest bins. The histograms of a patch are
    divided by its whole strength where that is more than `min_strength`, so
    that the noise of an even patch does not count as much as an edge.
    mmpretrain's `HOGGenerator` is not used, since it always makes a grid of
    14 x 14 and has no colours.

    Args:
        patch_size: Side of a patch in pixels.
        num_bins: Directions that are told apart.
        cells: Cells of a patch from side to side.
        colour_weight: Factor on the colour.
        min_strength: Length of a patch's histograms, as a mean over its
            pixels of gradients of values in [0, 1], from which on it is
            taken as one.

    Raises:
        ValueError: If patches do not divide into cells, or, in use, images
            into patches.

    Example:
        >>> dict(type='beit3_mm.HandcraftedTeacher')
    """

    def __init__(
        self,
        patch_size: int = 16,
        num_bins: int = 9,
        cells: int = 2,
        colour_weight: float = 1.0,
        min_strength: float = 0.02,
    ) -> None:
        super().__init__()
        if patch_size % cells:
            raise ValueError(f'{patch_size=} must divide by {cells=}')
        self.patch_size = patch_size
        self.num_bins = num_bins
        self.cell_size = patch_size // cells
        self.colour_weight = colour_weight
        self.min_strength = min_strength

    def forward(self, image: Tensor) -> Tensor:
        """Maps images `(B, 3, H, W)` in [0, 1] to `(B, T, h, w)`."""
        if any(side % self.patch_size for side in image.shape[-2:]):
            raise ValueError(
                f'images of {tuple(image.shape[-2:])} pixels do not divide '
                f'into patches of {self.patch_size}'
            )
        colour = F.avg_pool2d(2 * image - 1, self.patch_size)
        histograms = self._histograms(image)
        strength = histograms.norm(dim=1, keepdim=True)
        histograms = histograms / strength.clamp(min=self.min_strength)
        return torch.cat([self.colour_weight * colour, histograms], dim=1)

    def _histograms(self, image: Tensor) -> Tensor:
        """Returns votes of all cells of a patch, `(B, bins * cells, h, w)`."""
        padded = F.pad(image, (1, 1, 1, 1), mode='replicate')
        dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
        dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
        strength, channel = (dx**2 + dy**2).max(1, keepdim=True)
        strength = (strength + EPS**2).sqrt()
        dx, dy = dx.gather(1, channel), dy.gather(1, channel)
        # in bins, of half a turn
        place = torch.atan2(dy, dx) / math.pi % 1 * self.num_bins
        first = place.floor()
        share = place - first
        votes = image.new_zeros(len(image), self.num_bins, *image.shape[-2:])
        lower = first.long() % self.num_bins
        votes.scatter_(1, lower, strength * (1 - share))
        upper = (lower + 1) % self.num_bins
        votes.scatter_(1, upper, strength * share)
        cells = F.avg_pool2d(votes, self.cell_size)
        # the cells of a patch side by side in its channels
        return F.pixel_unshuffle(cells, self.patch_size // self.cell_size)
