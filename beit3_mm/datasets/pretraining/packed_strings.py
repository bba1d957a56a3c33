# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Tens of millions of names in two arrays."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np


class PackedStrings(Sequence):
    """A list of strings that takes their bytes and 8 more each.

    A list of Python's strings takes five times as much, and forked data
    workers copy it, because reading an item writes its reference count.

    Args:
        data: uint8, the strings' UTF-8 one after the other.
        ends: int64, where each one ends.
    """

    def __init__(self, data: np.ndarray, ends: np.ndarray) -> None:
        self.data = data
        self.ends = ends

    @classmethod
    def pack(cls, strings: Iterable[str]) -> 'PackedStrings':
        """Packs strings, which may come one at a time."""
        data, lengths = bytearray(), []
        for string in strings:
            # file names need not be UTF-8
            item = string.encode(errors='surrogateescape')
            data += item
            lengths.append(len(item))
        ends = np.cumsum(np.array(lengths, np.int64))
        return cls(np.frombuffer(bytes(data), np.uint8), ends)

    def __len__(self) -> int:
        """Returns the number of strings."""
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        """Returns a string.

        Raises:
            IndexError: If there is no such string.
        """
        if not 0 <= index < len(self):
            raise IndexError(f'{index=} is not below {len(self)}')
        start = self.ends[index - 1] if index else 0
        item = self.data[start : self.ends[index]].tobytes()
        return item.decode(errors='surrogateescape')

    def __iter__(self) -> Iterator[str]:
        """Yields the strings."""
        return (self[index] for index in range(len(self)))
