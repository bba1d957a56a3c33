# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import logging

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import print_log

from beit3_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(BaseTransform):
    """Loads any image as 3 channels of 8 bits, or says which one is damaged.

    Grey and palette images get three channels, 16 bits are divided by 256,
    an alpha channel is dropped (the colours below it stay as they are), and
    the EXIF orientation is applied. Where the annotation gives `height` and
    `width`, the image must have that size: else boxes and masks would not
    fit, as with annotations made on an image before its rotation.

    It takes the place of mmcv's transform of the same name, which reads the
    same pixels, but does not compare sizes and skips damaged files without a
    word. mmdet's `DetInferencer` finds the transform by this name.

    Args:
        skip_damaged: For training. A file that is missing, damaged or of
            another size is logged once (by each worker process), and None is
            returned, upon which the dataset draws another sample. By default
            it raises.
        backend_args: File backend of `mmengine.fileio.get`.

    Example:
        >>> dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True)
    """

    def __init__(
        self, skip_damaged: bool = False, backend_args: dict | None = None
    ) -> None:
        self.skip_damaged = skip_damaged
        self.backend_args = backend_args
        self._skipped: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        """Adds `img` (H, W, 3), uint8 BGR, `img_shape` and `ori_shape`.

        Args:
            results: holds `img_path`, and `height` and `width` in pixels
                where they are known. `img_bytes`, the content of the file,
                is taken in the place of reading it, and removed.

        Returns:
            `results`; or None for a damaged file with `skip_damaged`, after
            `rejected` was added, which says what is wrong.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it holds no complete image, or one whose size is
                not the annotated size.
        """
        path = results['img_path']
        try:
            img = self._decode(path, results.pop('img_bytes', None))
            _check_size(img, path, results.get('height'), results.get('width'))
        except (OSError, ValueError) as error:
            if not self.skip_damaged:
                raise
            self._report(path, error)
            results['rejected'] = str(error)
            return None
        results['img'] = img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def _decode(self, path: str, content: bytes | None) -> np.ndarray:
        if content is None:
            content = fileio.get(path, backend_args=self.backend_args)
        try:
            img = mmcv.imfrombytes(content, flag='color', backend='cv2')
        except cv2.error as error:  # such as an empty file
            raise ValueError(_damaged(path, content)) from error
        if img is None:
            raise ValueError(_damaged(path, content))
        return img

    def _report(self, path: str, error: Exception) -> None:
        if path in self._skipped:
            return
        self._skipped.add(path)
        print_log(
            f'Skipped an image and drew another one instead: {error} '
            f'({len(self._skipped)} skipped so far by this process)',
            logger='current',
            level=logging.WARNING,
        )


def _damaged(path: str, content: bytes) -> str:
    return (
        f'{path} ({len(content)} bytes) is truncated, damaged or not an image'
    )


def _check_size(
    img: np.ndarray, path: str, height: int | None, width: int | None
) -> None:
    if None in (height, width) or img.shape[:2] == (height, width):
        return
    raise ValueError(
        f'{path} is {img.shape[0]} x {img.shape[1]} (height x width, its EXIF '
        f'orientation applied), but its annotation says {height} x {width}: '
        'the boxes and masks belong to another version of the image'
    )
