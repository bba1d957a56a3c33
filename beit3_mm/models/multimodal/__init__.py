# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.multimodal.fusion_encoder import FusionEncoder

__all__ = ['FusionEncoder']
