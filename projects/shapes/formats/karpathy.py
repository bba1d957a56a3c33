# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Karpathy's split of COCO 2014 captions: `dataset_coco.json`.

As in the real file, 'restval' images lie in `val2014/` but are trained on:
here they are the last tenth of the training scenes. The held-out scenes are
'val' and 'test' in turn.
"""

from __future__ import annotations

import re
from pathlib import Path

from captions import make_captions
from rendering import Job, Record
from scenes import scene_rng

from formats.common import Counts, image_id, of_split, write_json


def folder_2014(split: str, index: int, train: int) -> str:
    """Name the COCO 2014 folder a scene lies in.

    Args:
        split: 'train' or 'val', the scene's split.
        index: Number of the scene in its split.
        train: How many training scenes there are.
    """
    restval = split == 'train' and index >= train - train // 10
    return 'val2014' if split == 'val' or restval else 'train2014'


def file_name_2014(folder: str, number: int) -> str:
    """Name the file of the COCO image with an id in a 2014 or 2015 folder."""
    return f'COCO_{folder}_{number:012d}.jpg'


def jobs(counts: Counts) -> list[Job]:
    """List the scenes of `train2014/` and `val2014/`."""
    found = []
    for split, number in (('train', counts.train), ('val', counts.val)):
        for i in range(number):
            folder = folder_2014(split, i, counts.train)
            name = file_name_2014(folder, image_id(split, i))
            found.append(Job(split, i, images=(f'coco/{folder}/{name}',)))
    return found


def _tokens(sentence: str) -> list[str]:
    return re.findall(r'[a-z0-9]+', sentence.lower())


def write(folder: Path, records: list[Record], seed: int) -> list[str]:
    """Write `dataset_coco.json`."""
    training = of_split(records, 'train')
    images = []
    sentence_id = 0
    for record in training + of_split(records, 'val'):
        rng = scene_rng(seed, f'{record.split}/captions', record.index)
        captions = make_captions(
            record.objects, record.texture, record.size, rng
        )
        place = folder_2014(record.split, record.index, len(training))
        if record.split == 'val':
            split = ('test', 'val')[record.index % 2]
        else:
            split = 'train' if place == 'train2014' else 'restval'
        number = image_id(record.split, record.index)
        ids = list(range(sentence_id, sentence_id + len(captions)))
        sentence_id += len(captions)
        images.append(
            {
                'filepath': place,
                'filename': file_name_2014(place, number),
                'cocoid': number,
                'imgid': len(images),
                'split': split,
                'sentids': ids,
                'sentences': [
                    {
                        'raw': text,
                        'tokens': _tokens(text),
                        'imgid': len(images),
                        'sentid': i,
                    }
                    for i, text in zip(ids, captions)
                ],
            }
        )
    path = 'coco/dataset_coco.json'
    write_json(folder / path, {'images': images, 'dataset': 'coco'})
    return [f'{path}: {sentence_id} captions of {len(images)} images']
