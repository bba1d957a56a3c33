# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.datasets.pretraining.image_folder import ImageFolderDataset
from beit3_mm.datasets.pretraining.mixed import (
    KINDS,
    MixedDataset,
    collate_kinds,
)
from beit3_mm.datasets.pretraining.pair_list import PairListDataset
from beit3_mm.datasets.pretraining.shards import ShardDataset
from beit3_mm.datasets.pretraining.text_corpus import (
    TextCorpus,
    TextCorpusDataset,
)

__all__ = [
    'KINDS',
    'ImageFolderDataset',
    'MixedDataset',
    'PairListDataset',
    'ShardDataset',
    'TextCorpus',
    'TextCorpusDataset',
    'collate_kinds',
]
