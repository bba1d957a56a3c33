# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.heads.caption import CaptionHead
from beit3_mm.models.heads.classification import ClassificationHead
from beit3_mm.models.heads.contrastive import ContrastiveHead
from beit3_mm.models.heads.mdm import MaskedModelingHead
from beit3_mm.models.heads.nlvr2 import NLVR2Head
from beit3_mm.models.heads.vqa import VQAHead

__all__ = [
    'CaptionHead',
    'ClassificationHead',
    'ContrastiveHead',
    'MaskedModelingHead',
    'NLVR2Head',
    'VQAHead',
]
