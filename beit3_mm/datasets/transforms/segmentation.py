# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image, UnidentifiedImageError

from beit3_mm.registry import TRANSFORMS

IGNORED = 255  # mmseg's index of pixels without a class


@TRANSFORMS.register_module()
class LoadSemanticMask(LoadAnnotations):
    """mmseg's `LoadAnnotations`, whose errors name the mask.

    A mask must be there, be of one channel, have the size of its image, which
    is loaded before, and hold no other values than classes and 255. mmseg
    would stop hours later, at the loss, or train on what is not there.

    Args:
        num_classes: Number of classes after `reduce_zero_label`.

    Raises:
        ValueError: If 8 bits do not hold so many classes and 255.

    Example:
        >>> dict(type='beit3_mm.LoadSemanticMask', num_classes=150)
    """

    def __init__(self, num_classes: int) -> None:
        if not 1 <= num_classes <= IGNORED:
            raise ValueError(
                f'{num_classes=} must lie between 1 and {IGNORED}: masks have '
                f'8 bits, and {IGNORED} is for pixels without a class'
            )
        super().__init__(imdecode_backend='pillow')
        self.num_classes = num_classes

    def transform(self, results: dict) -> dict:
        """Adds `gt_seg_map` (H, W), uint8, where the data set names masks.

        Raises:
            FileNotFoundError: If there is no mask.
            ValueError: If it is damaged or does not fit image and classes.
        """
        path = results.get('seg_map_path')
        if path is None:  # a test server's images
            return results
        try:
            with Image.open(path) as file:
                mode, size = file.mode, file.size
            results = super().transform(results)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{path}: the mask of {results["img_path"]} is missing'
            ) from error
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise ValueError(f'{path} is no readable mask: {error}') from error
        if mode not in ('L', 'P', '1'):
            raise ValueError(
                f'{path} has the image mode {mode!r}; a mask has one channel '
                "of 8 bits ('L' or 'P')"
            )
        height, width = results['ori_shape']
        if size != (width, height):
            turned = '; where EXIF data turn an image, turn its mask too'
            raise ValueError(
                f'{path} is {size[1]} x {size[0]} (height x width), its image '
                f'{results["img_path"]} {height} x {width}'
                + (turned if size == (height, width) else '')
            )
        self._check_values(path, results['gt_seg_map'])
        # mmseg squeezes, even what is one pixel wide
        results['gt_seg_map'] = results['gt_seg_map'].reshape(height, width)
        return results

    def _check_values(self, path: str, mask: np.ndarray) -> None:
        counts = np.bincount(mask.ravel(), minlength=IGNORED + 1)
        wrong = np.flatnonzero(counts[self.num_classes : IGNORED])
        if len(wrong):
            values = (wrong + self.num_classes).tolist()
            raise ValueError(
                f'{path} holds the classes {values[:5]}, counted from 0; '
                f'there are num_classes={self.num_classes}, and {IGNORED} for '
                'pixels without a class. Either this or reduce_zero_label='
                f'{self.reduce_zero_label} of the data set does not fit'
            )
