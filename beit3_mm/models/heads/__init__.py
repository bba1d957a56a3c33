# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.models.heads.caption import CaptionHead
from beit3_mm.models.heads.contrastive import ContrastiveHead

__all__ = ['CaptionHead', 'ContrastiveHead']
