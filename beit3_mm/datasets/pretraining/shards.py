# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images and pairs in tar shards, as webdataset and img2dataset write them."""

import logging
import os
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log

from beit3_mm.datasets.pretraining.base import PretrainingDataset, find_files
from beit3_mm.datasets.pretraining.shard_index import (
    BLOCK,
    SUFFIX,
    ShardIndex,
    index_path,
    load_index,
    scan_shard,
)
from beit3_mm.registry import DATASETS

MANY = 100  # shards that are better indexed in advance


@DATASETS.register_module()
class ShardDataset(PretrainingDataset):
    """Samples of webdataset's tar shards, each read from its place.

    A sample is the files of one name up to the first dot: an image (`.jpg`,
    `.jpeg`, `.png` or `.webp`) and a caption (`.txt`, UTF-8). Nothing else
    is read, and no pickled field decoded. An index says where each lies, so
    that samples are drawn in any order and a resumed run goes on at once;
    tools/dataset_converters/index_shards.py makes it, and shards without one
    are indexed at each start.

    A shard that was cut has the samples before the cut; a sample without the
    caption that it should have is left out. Both are reported.

    Args:
        shards: One or several files or patterns.
        data_root: Folder of the shards.
        with_text: Whether samples are pairs; else images alone.
        index_dir: Folder of the indices, in folders named as those of the
            shards; by default they lie beside these.
        pipeline: Transforms of a sample, which is `img_path` (the shard and
            the name in it), `img_bytes`, `sample_idx` and `text`.

    Raises:
        FileNotFoundError: If there is no shard of a name or pattern.
        ValueError: If there is no sample, or an index is of another shard.

    Example:
        >>> dict(
        ...     type='beit3_mm.ShardDataset',
        ...     data_root='data/',
        ...     shards=['cc3m/*.tar', 'cc12m/*.tar'],
        ...     with_text=True,
        ...     pipeline=[dict(type='beit3_mm.LoadImageFromFile')],
        ... )
    """

    def __init__(
        self,
        shards: str | Sequence[str],
        data_root: str = '',
        *,
        with_text: bool,
        index_dir: str | None = None,
        pipeline: Sequence[dict] = (),
    ) -> None:
        super().__init__(pipeline)
        self.with_text = with_text
        self.shards = find_files(shards, data_root, 'shard')
        members = [
            self._select(shard, index)
            for shard, index in zip(self.shards, self._indices(index_dir))
        ]
        self.ends = np.cumsum([len(x) for x in members])
        self.members = np.concatenate(members)
        if not len(self):
            raise ValueError(
                f'{", ".join(self.shards[:3])}: there is no sample in it; '
                f'{"; ".join(self.left_out[:3])}'
            )

    def _indices(self, index_dir: str | None) -> list[ShardIndex]:
        """Returns the index of each shard, made where there is none."""
        found = [
            load_index(index_path(shard, index_dir), shard)
            for shard in self.shards
        ]
        missing = sum(index is None for index in found)
        if missing > MANY:
            print_log(
                f'{missing} of {len(found)} shards, such as {self.shards[0]}, '
                'have no index: each process makes them now. '
                'tools/dataset_converters/index_shards.py makes them once',
                'current',
                logging.WARNING,
            )
        return [
            scan_shard(shard) if index is None else index
            for shard, index in zip(self.shards, found)
        ]

    def _select(self, shard: str, index: ShardIndex) -> np.ndarray:
        """Returns the usable rows of an index; notes what is left out."""
        if index.problem:
            self.left_out.append(f'{shard}: {index.problem}')
        members = index.members
        if not self.with_text:
            return members[:, :2]
        is_pair = members[:, 3] >= 0
        lacking = len(members) - int(is_pair.sum())
        if lacking:
            self.left_out.append(
                f'{shard}: {lacking} of {len(members)} images have no caption'
            )
        return members[is_pair]

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.members)

    def get_data_info(self, index: int) -> dict:
        """Returns `img_path`, `img_bytes`, `sample_idx` and `text`.

        Raises:
            IndexError: If there is no such sample.
            ValueError: If the shard is another than that which was indexed.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'{index=} is not below {len(self)}')
        number = int(np.searchsorted(self.ends, index, side='right'))
        shard, row = self.shards[number], self.members[index].tolist()
        with open(shard, 'rb', buffering=0) as file:
            # the header, which has the name, lies in front
            start = row[0] - BLOCK
            data = os.pread(file.fileno(), row[1] + BLOCK, start)
            text = None
            if self.with_text:
                text = os.pread(file.fileno(), row[3], row[2])
        _check_header(data[:BLOCK], row[1], shard)
        info = dict(
            img_path=f'{shard}/{_name(data[:BLOCK])}',
            img_bytes=data[BLOCK:],
            sample_idx=index,
        )
        if text is not None:
            _add_text(info, text)
        return info


def _check_header(header: bytes, size: int, shard: str) -> None:
    """Raises where a file of another size lies in the place of an image."""
    try:
        found = int(header[124:136].strip(b' \0'), 8)
    except ValueError:
        found = None  # in the middle of a file
    if found != size:
        raise ValueError(
            f'{shard} has no image of {size} bytes where its index '
            f'({SUFFIX}) says so: the shard was replaced since; remove the '
            'index, and tools/dataset_converters/index_shards.py makes it'
        )


def _name(header: bytes) -> str:
    """Returns the name in a member's header, its first 100 bytes."""
    return header[:100].partition(b'\0')[0].decode(errors='replace')


def _add_text(info: dict, data: bytes) -> None:
    """Adds the caption, or why the sample is rejected."""
    try:
        info['text'] = data.decode().strip()
    # one damaged caption of millions is no reason to stop
    except UnicodeDecodeError as error:
        info['rejected'] = f'{info["img_path"]}: its caption: {error}'
        return
    if not info['text']:
        info['rejected'] = f'{info["img_path"]}: its caption is empty'
