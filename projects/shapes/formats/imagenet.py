# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""ImageNet: a folder of images for each class, named by a WordNet id.

Each scene has one object; the classes take turns.
"""

from __future__ import annotations

from pathlib import Path

from rendering import Job, Record
from scenes import CLASSES

from formats.common import Counts, of_split, write_lines

# Ids that WordNet does not have; their order is that of the classes.
WNIDS = tuple(f'n9{i + 1:07d}' for i in range(len(CLASSES)))


def jobs(counts: Counts) -> list[Job]:
    """List the scenes of `train/` and `val/`."""
    found = []
    for split, number in (('train', counts.train), ('val', counts.val)):
        for i in range(number):
            class_id = i % len(CLASSES)
            wnid = WNIDS[class_id]
            stem = f'{wnid}_{i}'
            if split == 'val':
                stem = f'ILSVRC2012_val_{i + 1:08d}'
            path = f'imagenet/{split}/{wnid}/{stem}.JPEG'
            found.append(Job(f'imagenet_{split}', i, class_id, (path,)))
    return found


def write(folder: Path, records: list[Record], seed: int) -> list[str]:
    """Write `LOC_synset_mapping.txt`, the name of each class's folder."""
    rows = [f'{wnid} {name}' for wnid, name in zip(WNIDS, CLASSES)]
    write_lines(folder / 'imagenet/LOC_synset_mapping.txt', rows)
    return [
        f'imagenet/{split}: '
        f'{len(of_split(records, f"imagenet_{split}"))} images of one object'
        for split in ('train', 'val')
    ]
