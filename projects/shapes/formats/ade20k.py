# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""ADE20K scene parsing: a mask image of class ids beside each photograph.

A mask holds class id + 1, and 0 for the background. Read as ADE20K is read
(`reduce_zero_label=True`) the 0 is ignored; read without, it is a class.
"""

from __future__ import annotations

from pathlib import Path

from rendering import Job, Record
from scenes import CLASSES

from formats.common import Counts, of_split, write_lines

_FOLDERS = {'train': 'training', 'val': 'validation'}


def jobs(counts: Counts) -> list[Job]:
    """List the scenes of `training/` and `validation/`."""
    found = []
    for split, number in (('train', counts.train), ('val', counts.val)):
        for i in range(number):
            stem = f'{_FOLDERS[split]}/ADE_{split}_{i + 1:08d}'
            found.append(
                Job(
                    split,
                    i,
                    images=(f'ade20k/images/{stem}.jpg',),
                    semantic=f'ade20k/annotations/{stem}.png',
                )
            )
    return found


def write(folder: Path, records: list[Record], seed: int) -> list[str]:
    """Write `objectInfo150.txt`, the table of classes by mask value."""
    rows = [f'{i + 1}\t{name}' for i, name in enumerate(CLASSES)]
    path = 'ade20k/objectInfo150.txt'
    write_lines(folder / path, ['Idx\tName', *rows])
    return [
        f'ade20k/annotations/{name}: {len(of_split(records, split))} masks '
        f'of ade20k/images/{name}'
        for split, name in _FOLDERS.items()
    ]
