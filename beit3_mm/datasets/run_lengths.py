# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Run-length masks of COCO, without decoding them."""

from typing import Any

import numpy as np

FIRST_CHARACTER, CONTINUES, SIGN, VALUE = 48, 0x20, 0x10, 0x1F


def covered_pixels(counts: Any) -> int | None:
    """Returns how many pixels run lengths cover, those of zeros included.

    pycocotools fills a mask with what lies in memory where they cover less
    than the image.

    Args:
        counts: `counts` of a mask: a list, or a string as pycocotools writes
            it (`rleToString` in its maskApi.c).

    Returns:
        The number of pixels; None for what are no run lengths.
    """
    if isinstance(counts, str):
        runs = _runs(counts)
    elif isinstance(counts, list) and all(type(c) is int for c in counts):
        runs = np.array(counts, np.int64)
    else:
        return None
    return None if runs is None or (runs < 0).any() else int(runs.sum())


def _runs(text: str) -> np.ndarray | None:
    """Reads a string of run lengths (R,), None if it is none."""
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64)
    codes -= FIRST_CHARACTER
    if not len(codes) or codes.min() < 0 or codes.max() >= 2 * CONTINUES:
        return None
    ends = np.flatnonzero(codes & CONTINUES == 0)  # of each number
    if not len(ends) or ends[-1] != len(codes) - 1:
        return None
    starts = np.append(0, ends[:-1] + 1)
    bits = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    numbers = np.add.reduceat((codes & VALUE) << bits, starts)
    numbers -= (codes[ends] & SIGN > 0) << (bits[ends] + 5)
    # From the fourth on, they are differences to the last number but one.
    for first in (1, 2):
        numbers[first::2] = numbers[first::2].cumsum()
    return numbers
