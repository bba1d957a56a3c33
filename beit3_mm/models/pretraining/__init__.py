# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.pretraining.data_preprocessor import (
    MaskedModelingDataPreprocessor,
)
from beit3_mm.models.pretraining.handcrafted_teacher import HandcraftedTeacher
from beit3_mm.models.pretraining.masked_data_modeling import (
    MaskedDataModeling,
)
from beit3_mm.models.pretraining.vqkd import VQKD
from beit3_mm.models.pretraining.vqkd_training import VQKDTraining

__all__ = [
    'VQKD',
    'HandcraftedTeacher',
    'MaskedDataModeling',
    'MaskedModelingDataPreprocessor',
    'VQKDTraining',
]
