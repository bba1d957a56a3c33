# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the data sets of pretraining have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Any

from mmengine.dataset import Compose
from torch.utils.data import Dataset


class PretrainingDataset(Dataset, ABC):
    """Interface of data sets of tens of millions of samples.

    mmengine's `BaseDataset` keeps a dict for each sample, which takes hours
    to make and all memory at this size. Here a sample is looked up in arrays,
    and its files are read when it is asked for, by position and without state:
    so any process may begin anywhere.

    What is found missing or damaged at the start is left out and stands in
    `left_out`. A sample that shows to be damaged when it is read has the key
    `rejected`, which says why, and is replaced by `MixedDataset`.

    Args:
        pipeline: Transforms of a sample.
    """

    metainfo: dict = {}

    def __init__(self, pipeline: Sequence[dict] = ()) -> None:
        self.pipeline = Compose(list(pipeline))
        self.left_out: list[str] = []

    @abstractmethod
    def __len__(self) -> int:
        """Returns the number of samples."""

    @abstractmethod
    def get_data_info(self, index: int) -> dict:
        """Returns a sample before its transforms."""

    def __getitem__(self, index: int) -> Any:
        """Returns the transformed sample, None where it is rejected."""
        info = self.get_data_info(index)
        return None if 'rejected' in info else self.pipeline(info)


def find_files(
    patterns: str | Sequence[str], root: str, what: str
) -> list[str]:
    """Returns the files of names or patterns (`*`, `**`), each one sorted.

    Args:
        patterns: One or several, below `root` unless they are absolute.
        root: A folder.
        what: What the files are, for the error.

    Raises:
        FileNotFoundError: If there is no file of a name or pattern.
    """
    found = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        path = str(Path(root, pattern))
        files = [path]
        if has_magic(pattern) and not Path(path).is_file():
            # folders may be called as they like
            full = str(Path(escape(root), pattern))
            files = sorted(glob(full, recursive=True))
        files = [file for file in files if Path(file).is_file()]
        if not files:
            raise FileNotFoundError(
                f'there is no {what} {path}: docs/data/pretraining.md says '
                'how the corpora of pretraining look'
            )
        found += files
    return list(dict.fromkeys(found))  # of two patterns, once
