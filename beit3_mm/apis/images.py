# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images of users: files, arrays and PIL images as the same pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from beit3_mm.datasets.transforms.loading import LoadImageFromFile

ImageSource: TypeAlias = str | Path | np.ndarray | Image.Image


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image that a model is shown; a file is read when it is needed.

    Args:
        source: The image.
        name: What it is called in results.
    """

    source: ImageSource
    name: str

    def __repr__(self) -> str:
        return self.name

    def pixels(self) -> np.ndarray:
        """Returns `(H, W, 3)` uint8, BGR, as mmcv's transforms have it.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If there is no complete image of 8 or 16 bits in it.
        """
        if isinstance(self.source, np.ndarray):
            return _from_array(self.source, self.name)
        if isinstance(self.source, Image.Image):
            return _from_pil(self.source, self.name)
        return LoadImageFromFile().transform({'img_path': self.name})['img']

    def to_pil(self) -> Image.Image:
        """Returns the pixels as an RGB image."""
        return Image.fromarray(self.pixels()[:, :, ::-1])


def as_inputs(
    images: ImageSource | Sequence[ImageSource],
) -> tuple[InputImage, ...]:
    """Returns images with names, without reading any.

    Files are called by their path, other images by their number.

    Args:
        images: Paths, PIL images or arrays `(H, W, 3)`, BGR, as
            `mmcv.imread` and `cv2.imread` give them; or one of these.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If something is no image.
        ValueError: If a path is a folder.
    """
    if isinstance(images, ImageSource):
        images = [images]
    if not isinstance(images, Iterable):
        raise TypeError(
            'images must be paths, arrays, PIL images or one of these, not '
            f'{images!r}'
        )
    return tuple(_as_input(image, i) for i, image in enumerate(images))


def _as_input(source: ImageSource, number: int) -> InputImage:
    if isinstance(source, np.ndarray | Image.Image):
        name = getattr(source, 'filename', '') or f'image_{number}'
        return InputImage(source, str(name))
    if not isinstance(source, str | Path):
        raise TypeError(
            f'image {number} must be a path, an array or a PIL image, not '
            f'{type(source).__name__}'
        )
    path = Path(source).expanduser()
    if path.is_dir():
        raise ValueError(f'{source} is a folder: name the images in it')
    if not path.is_file():
        raise FileNotFoundError(f'there is no image {source}')
    return InputImage(path, str(path))


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size:
        channels = 0
    if channels not in (1, 3, 4):
        raise ValueError(
            f'{name} is an array of {array.dtype} {array.shape}; it must be '
            'uint8 (H, W, 3), in the order blue, green, red'
        )
    if channels == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])  # without alpha


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    if image.mode in ('I', 'F'):
        raise ValueError(
            f'{name} has the mode {image.mode!r}, whose values have no known '
            "range: convert it to 'RGB' or 'L'"
        )
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith('I;16'):
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return _from_array(grey, name)
        rgb = np.asarray(image.convert('RGB'))
    except OSError as error:  # files are read now
        raise ValueError(f'{name} is no complete image: {error}') from error
    return np.ascontiguousarray(rgb[:, :, ::-1])
