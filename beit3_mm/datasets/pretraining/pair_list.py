# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images with captions, one pair a line."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from beit3_mm.datasets.pretraining.base import PretrainingDataset, find_files
from beit3_mm.registry import DATASETS
from beit3_mm.text_lines import mark_size

BLOCK = 1 << 26  # bytes that are searched for line ends at once


class LineFile(Sequence):
    """The lines of a file that are not empty, read by their number.

    Only their positions are kept in memory, 16 bytes for each.

    Args:
        path: The file, in UTF-8.

    Raises:
        ValueError: If it is in UTF-16 or UTF-32.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        ends = np.concatenate(list(_line_ends(path)))
        starts = np.concatenate([[mark_size(path)], ends + 1])[: len(ends)]
        filled = ends > starts
        self.starts, self.ends = starts[filled], ends[filled]

    def __len__(self) -> int:
        """Returns the number of lines."""
        return len(self.starts)

    def __getitem__(self, index: int) -> bytes:
        """Returns a line without its end."""
        start = int(self.starts[index])
        with open(self.path, 'rb', buffering=0) as file:
            return os.pread(
                file.fileno(), int(self.ends[index]) - start, start
            )


def _line_ends(path: str) -> Iterator[np.ndarray]:
    """Yields where lines end, in blocks; the last line needs no end."""
    size = os.path.getsize(path)
    if not size:
        yield np.zeros(0, np.int64)
        return
    data = np.memmap(path, np.uint8, 'r')
    for start in range(0, size, BLOCK):
        block = data[start : start + BLOCK]
        yield np.flatnonzero(block == ord('\n')) + start
    if data[-1] != ord('\n'):
        yield np.array([size])


@DATASETS.register_module()
class PairListDataset(PretrainingDataset):
    r"""Pairs of a list: Conceptual Captions, SBU, COCO, Visual Genome.

    A `.tsv` file has lines of a path, a tab and a caption. A `.jsonl` file
    has objects with `image_path` and `text`, or `text_segment`, ids without
    special ones, as the official index files (unilm/beit3, datasets.py). An
    image with several captions has several lines. A line that is damaged or
    has no caption is replaced by another when its turn comes, and reported.

    Args:
        ann_file: One or several files or patterns.
        data_root: Folder of the `ann_file`.
        img_root: Folder that the paths in the lists start from; by default
            `data_root`.
        pipeline: Transforms of a sample, which is `img_path`, `sample_idx`
            and `text` or `text_segment`.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If there is no line, or a list of another kind or
            encoding.

    Example:
        >>> dict(
        ...     type='beit3_mm.PairListDataset',
        ...     data_root='data/',
        ...     ann_file='pairs/visual_genome.tsv',
        ...     pipeline=[dict(type='beit3_mm.LoadImageFromFile')],
        ... )
    """

    def __init__(
        self,
        ann_file: str | Sequence[str],
        data_root: str = '',
        img_root: str | None = None,
        pipeline: Sequence[dict] = (),
    ) -> None:
        super().__init__(pipeline)
        self.img_root = data_root if img_root is None else img_root
        paths = find_files(ann_file, data_root, 'list of pairs')
        for path in paths:
            if Path(path).suffix not in PARSERS:
                raise ValueError(
                    f'{path}: lists of pairs are {" or ".join(PARSERS)} files'
                )
        self.files = [LineFile(path) for path in paths]
        self.ends = np.cumsum([len(file) for file in self.files])
        self.left_out = [
            f'{file.path}: the file is empty'
            for file in self.files
            if not len(file)
        ]
        if not len(self):
            raise ValueError(f'{", ".join(paths)}: there is no pair in it')

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return int(self.ends[-1])

    def get_data_info(self, index: int) -> dict:
        """Returns the path of the image and the text, or `rejected`.

        Raises:
            IndexError: If there is no such pair.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'{index=} is not below {len(self)}')
        number = int(np.searchsorted(self.ends, index, side='right'))
        file = self.files[number]
        line = index - (int(self.ends[number - 1]) if number else 0)
        where = f'{file.path}, byte {file.starts[line]}'
        try:
            path, texts = PARSERS[Path(file.path).suffix](file[line])
        # damage to a line of millions is no reason to stop
        except (ValueError, RecursionError) as error:
            rejected = f'{where}: {error}'
            return dict(img_path=where, sample_idx=index, rejected=rejected)
        path = os.path.join(self.img_root, path)
        info = dict(img_path=path, sample_idx=index, **texts)
        if not any(map(_is_filled, texts.values())):
            info['rejected'] = f'{where}: the caption of {path} is empty'
        return info


def _is_filled(text: str | list) -> bool:
    return bool(text.strip() if isinstance(text, str) else text)


def _parse_tsv(line: bytes) -> tuple[str, dict]:
    """Returns path and texts of a line.

    Raises:
        ValueError: If it has no tab or is not UTF-8.
    """
    path, tab, text = line.decode().rstrip('\r').partition('\t')
    if not tab:
        raise ValueError(f'there is no tab in {line[:60]!r}')
    return path, dict(text=text)


def _parse_json(line: bytes) -> tuple[str, dict]:
    """Returns path and texts of a line.

    Raises:
        ValueError: If it is no JSON object or lacks a path or a text.
    """
    record = json.loads(line)
    path = record.get('image_path') if isinstance(record, dict) else None
    if isinstance(path, str):
        for key, kind in (('text_segment', list), ('text', str)):
            if isinstance(record.get(key), kind):
                return path, {key: record[key]}
    raise ValueError(
        "expected an object with 'image_path' and 'text' or 'text_segment', "
        f'not {line[:60]!r}'
    )


PARSERS = {'.tsv': _parse_tsv, '.jsonl': _parse_json}
