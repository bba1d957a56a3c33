# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What several formats share: counts, image ids and names, JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rendering import Record

MAX_SCENES = 1_000_000  # in a split: image ids of splits must not meet
_FIRST_ID = {'train': 1, 'val': 1 + MAX_SCENES, 'test': 1 + 2 * MAX_SCENES}

INFO = {
    'description': 'Scenes of coloured shapes, made by projects/shapes',
    'url': '',
    'version': '1.0',
    'year': 2017,
    'contributor': 'beit3_mm contributors',
    'date_created': '2017/09/01',
}
LICENSE = {
    'id': 1,
    'name': 'Apache License 2.0',
    'url': 'https://www.apache.org/licenses/LICENSE-2.0',
}


@dataclass(frozen=True)
class Counts:
    """How many scenes are asked for."""

    train: int
    val: int


def image_id(split: str, index: int) -> int:
    """Return the COCO image id of a scene of 'train', 'val' or 'test'."""
    return _FIRST_ID[split] + index


def of_split(records: Iterable[Record], split: str) -> list[Record]:
    """Select the records of a split, in the order of their index."""
    chosen = (record for record in records if record.split == split)
    return sorted(chosen, key=lambda record: record.index)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of lines, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines))
