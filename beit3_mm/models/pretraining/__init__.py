# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.pretraining.data_preprocessor import (
    MaskedModelingDataPreprocessor,
)
from beit3_mm.models.pretraining.masked_data_modeling import (
    MaskedDataModeling,
)

__all__ = ['MaskedDataModeling', 'MaskedModelingDataPreprocessor']
