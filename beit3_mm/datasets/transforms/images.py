# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Compose

from beit3_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TransformImages(BaseTransform):
    """Loads and transforms each image of a sample that has several (NLVR2).

    Each image draws its own augmentation, as in the official code
    (unilm/beit3/datasets.py).

    Args:
        transforms: Steps for one image, from loading on; they must end in the
            same size for all.

    Example:
        >>> dict(
        ...     type='beit3_mm.TransformImages',
        ...     transforms=[dict(type='beit3_mm.LoadImageFromFile')],
        ... )
    """

    def __init__(self, transforms: list[dict]) -> None:
        self.transforms = Compose(transforms)

    def transform(self, results: dict) -> dict | None:
        """Adds `img`, uint8 (K, H, W, 3), from the K `img_paths`.

        Returns:
            `results`, or None where a step has rejected one of the images.

        Raises:
            ValueError: If the images end in different sizes.
        """
        images = []
        for path in results['img_paths']:
            image = self.transforms(dict(img_path=path))
            if image is None:
                return None
            images.append(image['img'])
        if len({image.shape for image in images}) != 1:
            sizes = [image.shape[:2] for image in images]
            raise ValueError(
                f'{results["img_paths"]} end as {sizes} (height, width): the '
                'transforms must resize all to one size'
            )
        results['img'] = np.stack(images)
        return results


@TRANSFORMS.register_module()
class TranslatePixels(BaseTransform):
    """Moves an image by a fixed number of pixels, at any size of it.

    A policy for mmpretrain's `RandAugment`, whose own `Translate` moves by a
    share of the image, while the official code (unilm/beit3/randaug.py) moves
    by pixels.

    Args:
        pixels: How far; the sign is drawn.
        direction: 'horizontal' or 'vertical'.
        prob: Probability that the image is moved at all.
        pad_val: Colour of what is uncovered.
        interpolation: As of `mmcv.imtranslate`.

    Raises:
        ValueError: If `direction` is unknown, or `prob` no probability.

    Example:
        >>> dict(type='beit3_mm.TranslatePixels', pixels=7)
    """

    def __init__(
        self,
        pixels: float,
        direction: str = 'horizontal',
        prob: float = 0.5,
        pad_val: tuple[int, int, int] = (128, 128, 128),
        interpolation: str = 'bilinear',
    ) -> None:
        if direction not in ('horizontal', 'vertical'):
            raise ValueError(
                f"{direction=} must be 'horizontal' or 'vertical'"
            )
        if not 0 <= prob <= 1:
            raise ValueError(f'{prob=} must lie between 0 and 1')
        self.pixels = pixels
        self.direction = direction
        self.prob = prob
        self.pad_val = tuple(pad_val)
        self.interpolation = interpolation

    def transform(self, results: dict) -> dict:
        """Moves `img`, uint8 (H, W, 3), and keeps its size."""
        if np.random.rand() >= self.prob:
            return results
        results['img'] = mmcv.imtranslate(
            results['img'],
            np.random.choice((-1, 1)) * self.pixels,
            direction=self.direction,
            border_value=self.pad_val,
            interpolation=self.interpolation,
        )
        return results
