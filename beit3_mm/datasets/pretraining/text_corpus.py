# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Plain-text files of any size as one corpus, read anywhere."""

import os
from collections.abc import Sequence

import numpy as np

from beit3_mm.datasets.pretraining.base import PretrainingDataset, find_files
from beit3_mm.registry import DATASETS
from beit3_mm.text_lines import mark_size

DOCUMENT_END = b'\n\n'  # a blank line, also between files


class TextCorpus:
    """The bytes of text files, with a blank line behind each file.

    Args:
        paths: The files, none of them empty.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        sizes = np.array([os.path.getsize(x) for x in paths], np.int64)
        self.ends = np.cumsum(sizes + len(DOCUMENT_END))

    @property
    def size(self) -> int:
        """Number of bytes, blank lines between the files included."""
        return int(self.ends[-1])

    def locate(self, position: int) -> tuple[int, int]:
        """Returns the number of the file at a position, and the byte in it."""
        number = int(np.searchsorted(self.ends, position, side='right'))
        start = int(self.ends[number - 1]) if number else 0
        return number, position - start

    def name(self, position: int) -> str:
        """Returns 'FILE, byte N' of a position."""
        number, offset = self.locate(position)
        return f'{self.paths[number]}, byte {offset}'

    def read(self, start: int, size: int) -> bytes:
        """Returns `size` bytes, or fewer at the end of the corpus."""
        parts, stop = [], min(start + size, self.size)
        while start < stop:
            number, offset = self.locate(start)
            with open(self.paths[number], 'rb', buffering=0) as file:
                part = os.pread(file.fileno(), stop - start, offset)
            # what the file lacks of its share is the blank line behind it
            lacking = int(self.ends[number]) - start - len(part)
            part += DOCUMENT_END[-lacking:] if lacking else b''
            parts.append(part[: stop - start])
            start += len(parts[-1])
        return b''.join(parts)


@DATASETS.register_module()
class TextCorpusDataset(PretrainingDataset):
    """Windows of plain-text files, for `beit3_mm.PackText`.

    Sample i is about the i-th window of `bytes_per_sample` bytes: `PackText`
    begins at a place that it draws in the window and reads on until the
    text has all of its ids. So no epoch cuts the corpus at the places of the
    one before, and no file has to be tokenised in advance. Documents are
    separated by a blank line, and by the end of a file.

    Args:
        files: One or several files or patterns. UTF-8.
        data_root: Folder of the files.
        bytes_per_sample: Size of a window; an epoch reads every text about
            once where it is the average size of a sample. English has about
            4.5 bytes an id [ours, a guess], so 2300 for 512 ids.
        pipeline: Transforms of a sample, which is `text_corpus`,
            `text_window` (start and stop in bytes) and `sample_idx`.

    Raises:
        FileNotFoundError: If there is no file of a name or pattern.
        ValueError: If all files are empty, or one is in UTF-16 or UTF-32.

    Example:
        >>> dict(
        ...     type='beit3_mm.TextCorpusDataset',
        ...     data_root='data/text/',
        ...     files=['wikipedia/*.txt', 'cc_news/*.txt'],
        ...     pipeline=[
        ...         dict(
        ...             type='beit3_mm.PackText',
        ...             model_file='beit3.spm',
        ...             max_tokens=512,
        ...         ),
        ...     ],
        ... )
    """

    def __init__(
        self,
        files: str | Sequence[str],
        data_root: str = '',
        bytes_per_sample: int = 2300,
        pipeline: Sequence[dict] = (),
    ) -> None:
        super().__init__(pipeline)
        if bytes_per_sample < 1:
            raise ValueError(f'{bytes_per_sample=} must be at least 1')
        paths = find_files(files, data_root, 'text file')
        filled = [path for path in paths if os.path.getsize(path)]
        self.left_out = [
            f'{path}: the file is empty'
            for path in sorted(set(paths) - set(filled))
        ]
        if not filled:
            raise ValueError(f'{", ".join(paths[:3])}: all files are empty')
        for path in filled:  # else each text would be left out when it is read
            mark_size(path)
        self.corpus = TextCorpus(filled)
        self.bytes_per_sample = bytes_per_sample

    def __len__(self) -> int:
        """Returns the number of windows."""
        return -(-self.corpus.size // self.bytes_per_sample)

    def get_data_info(self, index: int) -> dict:
        """Returns `text_corpus`, `text_window` and `sample_idx`.

        Raises:
            IndexError: If there is no such window.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'{index=} is not below {len(self)}')
        start = index * self.bytes_per_sample
        stop = min(start + self.bytes_per_sample, self.corpus.size)
        return dict(
            text_corpus=self.corpus,
            text_window=(start, stop),
            sample_idx=index,
        )
