# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Peak memory of a piece of a program."""

import ctypes
import gc
import os
from pathlib import Path

import torch

# Writing 5 resets the high-water mark of the resident size (man 5 proc).
CLEAR_REFS = Path('/proc/self/clear_refs')


class PeakMemory:
    """Measures the peak within a `with` block above its start, in bytes.

    On a GPU this is what torch allocates, on a CPU the resident size of the
    process, which only Linux can measure anew; elsewhere `peak` is None.

    Args:
        device: Whose memory counts.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.peak: int | None = None

    def __enter__(self) -> 'PeakMemory':
        gc.collect()
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start = torch.cuda.memory_allocated(self.device)
        elif os.access(CLEAR_REFS, os.W_OK):
            _return_free_memory()
            CLEAR_REFS.write_text('5')
            self._start = _resident('VmRSS')
        return self

    def __exit__(self, *error: object) -> None:
        if self.device.type == 'cuda':
            top = torch.cuda.max_memory_allocated(self.device)
            self.peak = top - self._start
        elif os.access(CLEAR_REFS, os.W_OK):
            self.peak = _resident('VmHWM') - self._start


def _return_free_memory() -> None:
    # What malloc keeps of freed memory would hide as much of the next peak.
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # glibc has it
    if trim is not None:
        trim(0)


def _resident(key: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    sizes = dict(line.split(':', 1) for line in lines)
    return 1024 * int(sizes[key].split()[0])  # '  1234 kB'
