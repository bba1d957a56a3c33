# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The order of an epoch as a function, without a list of all samples."""

import numpy as np

ROUNDS = 6
WORD = (1 << 64) - 1


class Permutation:
    """A permutation of 0 to `size` - 1 whose items are computed one by one.

    A list of the 70 million windows of a text corpus would take half a
    gigabyte in each process. This is a Feistel network on the numbers of an
    even number of bits; what falls behind `size` is sent through it again,
    until it does not (Black and Rogaway, Ciphers with arbitrary finite
    domains, 2002).

    Args:
        size: Number of items, at least 1.
        key: Integers >= 0 that together identify the permutation.

    Raises:
        ValueError: If `size` is below 1.
    """

    def __init__(self, size: int, key: tuple[int, ...]) -> None:
        if size < 1:
            raise ValueError(f'{size=} must be at least 1')
        self.size = size
        self.bits = max(1, -(-(size - 1).bit_length() // 2))
        words = np.random.SeedSequence(key).generate_state(ROUNDS, np.uint64)
        self.keys = [int(word) for word in words]

    def __getitem__(self, place: int) -> int:
        """Returns the item at a place.

        Raises:
            IndexError: If the place is not from 0 to `size` - 1.
        """
        if not 0 <= place < self.size:
            raise IndexError(f'{place=} is not below {self.size}')
        item = self._encrypt(place)
        while item >= self.size:
            item = self._encrypt(item)
        return item

    def _encrypt(self, item: int) -> int:
        """Permutes the numbers of twice `bits` bits."""
        low_bits = (1 << self.bits) - 1
        high, low = item >> self.bits, item & low_bits
        for key in self.keys:
            high, low = low, high ^ (_mix(low ^ key) & low_bits)
        return high << self.bits | low


def _mix(word: int) -> int:
    """Hashes 64 bits (the finaliser of SplitMix64, in the public domain)."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & WORD
    return word ^ word >> 31
