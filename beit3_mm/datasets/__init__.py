# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.datasets.index_file import IndexFileDataset
from beit3_mm.datasets.karpathy import KarpathyDataset
from beit3_mm.datasets.nlvr2 import NLVR2Dataset
from beit3_mm.datasets.nocaps import NoCapsDataset
from beit3_mm.datasets.pretraining import (
    ImageFolderDataset,
    MixedDataset,
    PairListDataset,
    ShardDataset,
    TextCorpusDataset,
    collate_kinds,
)
from beit3_mm.datasets.seeding import (
    SampleError,
    SampleIndex,
    SeededDataset,
    seeded_random,
)
from beit3_mm.datasets.visual_genome import VisualGenomeQADataset
from beit3_mm.datasets.vqav2 import VQAv2Dataset

__all__ = [
    'ImageFolderDataset',
    'IndexFileDataset',
    'KarpathyDataset',
    'MixedDataset',
    'NLVR2Dataset',
    'NoCapsDataset',
    'PairListDataset',
    'SampleError',
    'SampleIndex',
    'SeededDataset',
    'ShardDataset',
    'TextCorpusDataset',
    'VQAv2Dataset',
    'VisualGenomeQADataset',
    'collate_kinds',
    'seeded_random',
]
