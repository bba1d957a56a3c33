# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.multimodal.data_preprocessor import (
    MultimodalDataPreprocessor,
)

__all__ = ['MultimodalDataPreprocessor']
