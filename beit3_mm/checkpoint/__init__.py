# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Official weights and ours: one table of names, read both ways.

Reading files and loading models is in `engine/loading.py`.
"""

from beit3_mm.checkpoint.conversion import (
    Conversion,
    convert_official,
    convert_ours,
    recognise_task,
    resize_images,
)
from beit3_mm.checkpoint.key_table import (
    HEADS,
    OFFICIAL,
    TASKS,
    VIT_ADAPTER,
    VQKD,
    key_table,
)
from beit3_mm.checkpoint.matching import (
    CheckpointError,
    check_encoder,
    encoder_prefixes,
    encoder_weights,
    is_official,
    match_names,
    match_tokenizer,
    model_weights,
    some,
)

__all__ = [
    'HEADS',
    'OFFICIAL',
    'TASKS',
    'VIT_ADAPTER',
    'VQKD',
    'CheckpointError',
    'Conversion',
    'check_encoder',
    'convert_official',
    'convert_ours',
    'encoder_prefixes',
    'encoder_weights',
    'is_official',
    'key_table',
    'match_names',
    'match_tokenizer',
    'model_weights',
    'recognise_task',
    'resize_images',
    'some',
]
