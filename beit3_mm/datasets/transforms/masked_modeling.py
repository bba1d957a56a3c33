# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Views of an image and masks of its patches, for masked data modeling."""

import math
from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from beit3_mm.registry import TRANSFORMS

TRIES = 10  # of a crop or a block; BEiT's and torchvision's


@TRANSFORMS.register_module()
class TwoViews(BaseTransform):
    """Crops an image and resizes the crop to one or two sizes.

    The student and the visual tokenizer see the same part of the image, each
    at its own resolution: a student with patches of 14 pixels sees 224 pixels
    and a tokenizer with patches of 16 sees 256, which makes 16 x 16 patches
    of both (unilm/beit2, datasets.py). Colours and flips come before, so that
    they are those of both views.

    Args:
        img_size: Side of the student's view, in pixels.
        tokenizer_img_size: Side of the tokenizer's view; None where the
            sample has `visual_ids`.
        crop_ratio_range: Smallest and largest area of the crop, as a share of
            the image; `(1, 1)` squeezes the whole image into the views.
        aspect_ratio_range: Smallest and largest width of it by its height.
        interpolation: As of `mmcv.imresize`, by Pillow.

    Raises:
        ValueError: If a size or a range cannot be, or, in use, an image that
            has `visual_ids` is cropped or was flipped.

    Example:
        >>> dict(
        ...     type='beit3_mm.TwoViews',
        ...     img_size=224,
        ...     tokenizer_img_size=256,
        ...     crop_ratio_range=(0.2, 1.0),
        ... )
    """

    def __init__(
        self,
        img_size: int,
        tokenizer_img_size: int | None,
        crop_ratio_range: Sequence[float],
        aspect_ratio_range: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
    ) -> None:
        if min(img_size, tokenizer_img_size or 1) < 1:
            raise ValueError(
                f'{img_size=} and {tokenizer_img_size=} must be at least 1'
            )
        low, high = crop_ratio_range
        if not 0 < low <= high <= 1:
            raise ValueError(
                f'{crop_ratio_range=} must be two rising shares, above 0 and '
                'at most 1'
            )
        if not 0 < aspect_ratio_range[0] <= aspect_ratio_range[1]:
            raise ValueError(f'{aspect_ratio_range=} must rise from above 0')
        self.img_size = img_size
        self.tokenizer_img_size = tokenizer_img_size
        self.crop_ratio_range = tuple(crop_ratio_range)
        self.aspect_ratio_range = tuple(aspect_ratio_range)
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        """Replaces `img`, uint8 (H, W, 3), by the student's view.

        Returns:
            `results` with `img` (S, S, 3), `img_shape`, and, with
            `tokenizer_img_size`, `tokenizer_img` (T, T, 3).
        """
        img = results['img']
        cropped = self.crop_ratio_range[0] < 1
        if 'visual_ids' in results and (cropped or results.get('flip')):
            raise ValueError(
                f'crop_ratio_range={self.crop_ratio_range} and '
                f'flip={results.get("flip")}, but the visual tokens of the '
                'sample are of the whole image as it is: set '
                'crop_ratio_range=(1, 1) and remove the flip'
            )
        top, left, height, width = self._draw_crop(*img.shape[:2])
        crop = img[top : top + height, left : left + width]
        results['img'] = self._resize(crop, self.img_size)
        results['img_shape'] = results['img'].shape[:2]
        if self.tokenizer_img_size is not None:
            results['tokenizer_img'] = self._resize(
                crop, self.tokenizer_img_size
            )
        return results

    def _draw_crop(self, height: int, width: int) -> tuple[int, ...]:
        """Returns top, left, height and width of the crop, in pixels."""
        if self.crop_ratio_range[0] == 1:
            return 0, 0, height, width
        low, high = np.log(self.aspect_ratio_range)
        for _ in range(TRIES):
            area = height * width * np.random.uniform(*self.crop_ratio_range)
            aspect = math.exp(np.random.uniform(low, high))
            w = round(math.sqrt(area * aspect))
            h = round(math.sqrt(area / aspect))
            if 0 < h <= height and 0 < w <= width:
                top = np.random.randint(height - h + 1)
                return top, np.random.randint(width - w + 1), h, w
        # None fits into a long, narrow image: its middle.
        w = max(1, min(width, round(height * self.aspect_ratio_range[1])))
        h = max(1, min(height, round(width / self.aspect_ratio_range[0])))
        return (height - h) // 2, (width - w) // 2, h, w

    def _resize(self, img: np.ndarray, size: int) -> np.ndarray:
        return mmcv.imresize(
            img,
            (size, size),
            interpolation=self.interpolation,
            backend='pillow',
        )


@TRANSFORMS.register_module()
class BlockMask(BaseTransform):
    """Masks patches of an image in rectangular blocks, a fixed number.

    The blocks of BEiT (arXiv 2106.08254, algorithm 1): each has a random
    size and aspect ratio, and they may overlap. Where no further block fits
    into the number of patches to mask, single patches make it up, so that all
    samples have equally many (unilm/beit2, masking_generator.py). mmpretrain's
    `BEiTMaskGenerator` never reaches the last row and column.

    Args:
        patch_size: Of the student, in pixels.
        mask_ratio: Share of the patches, rounded: 102 of 256, 78 of 196.
            0.4 in BEiT-3 (arXiv 2208.10442, section 2.2).
        min_patches: Of a block; overlaps with others count too.
        min_aspect: Smallest aspect ratio of a block; the largest is its
            inverse.

    Raises:
        ValueError: If one of these cannot be.

    Example:
        >>> dict(type='beit3_mm.BlockMask', patch_size=16, mask_ratio=0.4)
    """

    def __init__(
        self,
        patch_size: int,
        mask_ratio: float,
        min_patches: int = 16,
        min_aspect: float = 0.3,
    ) -> None:
        if not 0 < mask_ratio < 1:
            raise ValueError(f'{mask_ratio=} must be between 0 and 1')
        if min(patch_size, min_patches) < 1 or not 0 < min_aspect <= 1:
            raise ValueError(
                f'{patch_size=} and {min_patches=} must be at least 1, '
                f'{min_aspect=} above 0 and at most 1'
            )
        self.patch_size = patch_size
        self.mask_ratio = mask_ratio
        self.min_patches = min_patches
        self.min_aspect = min_aspect

    def transform(self, results: dict) -> dict:
        """Adds `image_mask`, bool (N,), row by row, True = masked.

        Raises:
            ValueError: If `img` does not consist of whole patches.
        """
        height, width = results['img'].shape[:2]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f'an image of {height} x {width} pixels does not consist of '
                f'patches of patch_size={self.patch_size}'
            )
        grid = height // self.patch_size, width // self.patch_size
        results['image_mask'] = self.draw(grid).reshape(-1)
        return results

    def draw(self, grid: tuple[int, int]) -> np.ndarray:
        """Returns a mask of (rows, columns) of patches, bool."""
        mask = np.zeros(grid, bool)
        number = min(max(round(mask.size * self.mask_ratio), 1), mask.size)
        left = number
        while left and self._add_block(mask, left):
            left = number - int(mask.sum())
        if left:
            free = np.flatnonzero(~mask)
            mask.flat[np.random.choice(free, left, replace=False)] = True
        return mask

    def _add_block(self, mask: np.ndarray, most: int) -> bool:
        """Masks a block with 1 to `most` new patches; says if one fits."""
        limit = -math.log(self.min_aspect)
        for _ in range(TRIES):
            area = np.random.uniform(self.min_patches, most)
            aspect = math.exp(np.random.uniform(-limit, limit))
            height = round(math.sqrt(area * aspect))
            width = round(math.sqrt(area / aspect))
            if not (0 < height <= len(mask) and 0 < width <= mask.shape[1]):
                continue
            top = np.random.randint(len(mask) - height + 1)
            left = np.random.randint(mask.shape[1] - width + 1)
            block = mask[top : top + height, left : left + width]
            if 0 < block.size - block.sum() <= most:
                block[:] = True
                return True
        return False
