# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""One-call inference for every task."""

from beit3_mm.apis.drawing import draw, draw_detections
from beit3_mm.apis.embeddings import save_embeddings, stack_embeddings
from beit3_mm.apis.inferencer import Inferencer
from beit3_mm.apis.model import init_model

__all__ = [
    'Inferencer',
    'draw',
    'draw_detections',
    'init_model',
    'save_embeddings',
    'stack_embeddings',
]
