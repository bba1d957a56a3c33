# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Drawn pictures and annotations, where a config's data are not at hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (640, 480)  # width and height of most of COCO's images
NUM_OBJECTS = 7  # COCO's average


def write_coco(folder: Path, classes: Sequence[str], count: int) -> dict:
    """Writes pictures of soft noise, on which boxes are marked as objects.

    Args:
        folder: Where to; it is created, or its pictures are replaced.
        classes: Names of the categories, in the order of the labels.
        count: Number of pictures.

    Returns:
        What a COCO data set must be told to read them.
    """
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(count):
        name = f'{i}.jpg'
        _soft_noise(rng).save(folder / 'images' / name)
        width, height = SIZE
        images.append(
            {'id': i, 'file_name': name, 'width': width, 'height': height}
        )
        for _ in range(NUM_OBJECTS):
            number = len(annotations)
            category = 1 + number % len(classes)
            annotations.append(
                {'id': number + 1, 'image_id': i, 'category_id': category}
                | _rectangle(rng)
            )
    categories = [{'id': i, 'name': x} for i, x in enumerate(classes, 1)]
    (folder / 'annotations.json').write_text(
        json.dumps(
            {
                'images': images,
                'annotations': annotations,
                'categories': categories,
            }
        )
    )
    return {
        'data_root': str(folder),
        'ann_file': 'annotations.json',
        'data_prefix': {'img': 'images'},
    }


def write_masks(
    folder: Path, num_classes: int, count: int, suffix: str
) -> dict:
    """Writes pictures of soft noise with masks of rectangles.

    Args:
        folder: Where to; it is created, or its pictures are replaced.
        num_classes: Masks hold values from 0 to this one, less 1.
        count: Number of pictures.
        suffix: End of a mask's file name.

    Returns:
        What mmseg's data sets must be told to read them.
    """
    rng = np.random.default_rng(0)
    for name in ('images', 'masks'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        _soft_noise(rng).save(folder / 'images' / f'{i}.jpg')
        mask = np.zeros(SIZE[::-1], np.uint8)
        for _ in range(NUM_OBJECTS):
            x, y, width, height = _rectangle(rng)['bbox']
            mask[y : y + height, x : x + width] = rng.integers(num_classes)
        Image.fromarray(mask).save(folder / 'masks' / f'{i}{suffix}')
    return {
        'data_root': str(folder),
        'ann_file': '',
        'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'},
    }


def _soft_noise(rng: np.random.Generator) -> Image.Image:
    noise = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)


def _rectangle(rng: np.random.Generator) -> dict:
    """Returns box, area and polygon of an object of 32 to 200 pixels."""
    width, height = (int(side) for side in rng.integers(32, 200, 2))
    x = int(rng.integers(0, SIZE[0] - width))
    y = int(rng.integers(0, SIZE[1] - height))
    right, bottom = x + width, y + height
    return {
        'bbox': [x, y, width, height],
        'area': width * height,
        'segmentation': [[x, y, right, y, right, bottom, x, bottom]],
        'iscrowd': 0,
    }
