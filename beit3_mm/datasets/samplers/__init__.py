# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.datasets.samplers.mixed_sampler import MixedSampler
from beit3_mm.datasets.samplers.seeded_samplers import (
    EpochSampler,
    InfiniteSampler,
)

__all__ = ['EpochSampler', 'InfiniteSampler', 'MixedSampler']
