# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.heads.classification import ClassificationHead
from beit3_mm.models.heads.nlvr2 import NLVR2Head
from beit3_mm.models.heads.vqa import VQAHead

__all__ = ['ClassificationHead', 'NLVR2Head', 'VQAHead']
