# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""NLVR2: sentences that are true or false of two images.

The folders are those of the official images with the authors' repository
cloned beside them, as BEiT-3's code expects.
"""

from __future__ import annotations

import json
from pathlib import Path

from rendering import Job, Record
from scenes import scene_rng
from statements import PAIRS_PER_SET, make_statements

from formats.common import Counts, of_split, write_lines

_SCENES_PER_SET = 2 * PAIRS_PER_SET
_SETS_PER_DIRECTORY = 100


def _directory(split: str, number: int) -> str:
    """Name the folder of a set's images; only train's is divided."""
    if split == 'train':
        return f'nlvr2/images/train/{number // _SETS_PER_DIRECTORY}'
    return f'nlvr2/{split}'


def jobs(counts: Counts) -> list[Job]:
    """List the scenes: about as many in each split as are asked for."""
    numbers = {'train': counts.train, 'dev': counts.val, 'test1': counts.val}
    found = []
    for split, number in numbers.items():
        for i in range(max(1, number // _SCENES_PER_SET) * _SCENES_PER_SET):
            set_number, place = divmod(i, _SCENES_PER_SET)
            pair, side = divmod(place, 2)
            name = f'{split}-{set_number}-{pair}-img{side}.png'
            path = f'{_directory(split, set_number)}/{name}'
            found.append(Job(f'nlvr2_{split}', i, images=(path,)))
    return found


def write(folder: Path, records: list[Record], seed: int) -> list[str]:
    """Write `nlvr/nlvr2/data/{train,dev,test1}.json`, one object a line."""
    report = []
    for split in ('train', 'dev', 'test1'):
        chosen = of_split(records, f'nlvr2_{split}')
        lines = []
        for start in range(0, len(chosen), _SCENES_PER_SET):
            scenes = chosen[start : start + _SCENES_PER_SET]
            lines += _examples(split, start // _SCENES_PER_SET, scenes, seed)
        path = f'nlvr2/nlvr/nlvr2/data/{split}.json'
        write_lines(folder / path, lines)
        report.append(f'{path}: {len(lines)} examples')
    return report


def _examples(
    split: str, number: int, scenes: list[Record], seed: int
) -> list[str]:
    """Make the examples of one set of pairs, as JSON texts."""
    pairs = list(zip(scenes[::2], scenes[1::2]))
    rng = scene_rng(seed, f'nlvr2_{split}/statements', number)
    lines = []
    for i, (sentence, truths) in enumerate(make_statements(pairs, rng)):
        for pair, truth in enumerate(truths):
            example = {
                'identifier': f'{split}-{number}-{pair}-{i}',
                'sentence': sentence,
                'label': str(truth),
                'left_url': '',
                'right_url': '',
                'writer': 0,
                'query': 'shapes',
                'synset': 'shapes',
            }
            if split == 'train':
                example['directory'] = number // _SETS_PER_DIRECTORY
            lines.append(json.dumps(example))
    return lines
