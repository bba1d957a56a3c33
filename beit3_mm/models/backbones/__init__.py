# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.backbones.beit3_adapter import BEiT3Adapter
from beit3_mm.models.backbones.beit3_vit import BEiT3ViT

__all__ = ['BEiT3Adapter', 'BEiT3ViT']
