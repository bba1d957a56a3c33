# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A plain-text corpus, one sentence a line, on scenes nobody gets to see."""

from __future__ import annotations

from pathlib import Path

from captions import make_captions
from questions import make_questions
from rendering import Job, Record
from scenes import scene_rng

from formats.common import Counts, of_split, write_lines


def jobs(counts: Counts) -> list[Job]:
    """List the scenes of the corpus; none is written as an image."""
    return [
        Job(f'text_{split}', i)
        for split, number in (('train', counts.train), ('val', counts.val))
        for i in range(number)
    ]


def _sentences(record: Record, seed: int) -> list[str]:
    """Describe a scene, then ask and answer what can be asked of it."""
    rng = scene_rng(seed, f'{record.split}/sentences', record.index)
    objects, size = record.objects, record.size
    captions = make_captions(objects, record.texture, size, rng)
    questions = make_questions(objects, size, rng)
    return captions + [f'{q.text} {q.answer.capitalize()}.' for q in questions]


def write(folder: Path, records: list[Record], seed: int) -> list[str]:
    """Write `train.txt` and `val.txt`."""
    report = []
    for split in ('train', 'val'):
        chosen = of_split(records, f'text_{split}')
        lines = [line for r in chosen for line in _sentences(r, seed)]
        path = f'text/{split}.txt'
        write_lines(folder / path, lines)
        report.append(f'{path}: {len(lines)} sentences')
    return report
