# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.datasets.seeding import (
    SampleError,
    SampleIndex,
    SeededDataset,
    seeded_random,
)

__all__ = ['SampleError', 'SampleIndex', 'SeededDataset', 'seeded_random']
