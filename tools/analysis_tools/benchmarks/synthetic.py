# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Drawn pictures in COCO's format, where a config's data are not at hand."""

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
        noise = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC)
        picture.save(folder / 'images' / name)
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
