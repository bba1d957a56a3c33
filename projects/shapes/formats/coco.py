# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""COCO 2017 instances: boxes, polygons and categories in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rendering import Job, Record
from scenes import CLASSES

from formats.common import (
    INFO,
    LICENSE,
    Counts,
    image_id,
    of_split,
    write_json,
)


def _file_name(split: str, index: int) -> str:
    return f'{image_id(split, index):012d}.jpg'


def jobs(counts: Counts) -> list[Job]:
    """List the scenes of `train2017/` and `val2017/`."""
    found = []
    for split, number in (('train', counts.train), ('val', counts.val)):
        for i in range(number):
            path = f'coco/{split}2017/{_file_name(split, i)}'
            found.append(Job(split, i, images=(path,), polygons=True))
    return found


def write(folder: Path, records: list[Record], seed: int) -> list[str]:
    """Write `annotations/instances_{train,val}2017.json`."""
    lines = []
    for split in ('train', 'val'):
        chosen = of_split(records, split)
        path = f'coco/annotations/instances_{split}2017.json'
        write_json(folder / path, instances(chosen))
        lines.append(f'{path}: {len(chosen)} images in coco/{split}2017')
    return lines


def instances(records: list[Record]) -> dict[str, Any]:
    """Build the content of an instances file."""
    annotations: list[dict[str, Any]] = []
    for record in records:
        for obj, polygons in zip(record.objects, record.polygons, strict=True):
            annotations.append(
                {
                    'id': 0,
                    'image_id': image_id(record.split, record.index),
                    'category_id': obj.class_id + 1,
                    'segmentation': polygons,
                    'area': obj.area,
                    'bbox': list(obj.box),
                    'iscrowd': 0,
                }
            )
    first = image_id(records[0].split, 0) * 10  # unique over the splits
    for number, annotation in enumerate(annotations):
        annotation['id'] = first + number
    return {
        'info': INFO,
        'licenses': [LICENSE],
        'images': [_image(record) for record in records],
        'annotations': annotations,
        'categories': [
            {'id': i + 1, 'name': name, 'supercategory': name.split()[1]}
            for i, name in enumerate(CLASSES)
        ],
    }


def _image(record: Record) -> dict[str, Any]:
    return {
        'id': image_id(record.split, record.index),
        'file_name': _file_name(record.split, record.index),
        'height': record.size,
        'width': record.size,
        'license': LICENSE['id'],
        'date_captured': '2017-09-01 00:00:00',
        'coco_url': '',
        'flickr_url': '',
    }
