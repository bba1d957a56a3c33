# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.multimodal.class_name_classifier import (
    ClassNameClassifier,
)
from beit3_mm.models.multimodal.data_preprocessor import (
    MultimodalDataPreprocessor,
)
from beit3_mm.models.multimodal.dual_encoder import DualEncoder
from beit3_mm.models.multimodal.fusion_encoder import FusionEncoder
from beit3_mm.models.multimodal.image_to_text import ImageToText

__all__ = [
    'ClassNameClassifier',
    'DualEncoder',
    'FusionEncoder',
    'ImageToText',
    'MultimodalDataPreprocessor',
]
