# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What mmseg lacks at test time; nothing else in `models` imports mmseg."""

from beit3_mm.models.segmentation.mask2former_head import Mask2FormerHead
from beit3_mm.models.segmentation.semantic_tta import SemanticTTAModel

__all__ = ['Mask2FormerHead', 'SemanticTTAModel']
