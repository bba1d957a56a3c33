# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 as fusion encoder with the head of VQA (arXiv 2208.10442, section
# 3.1; unilm/beit3, modeling_finetune.py [official code]).
# Final configs add backbone=dict(**arch, drop_path_rate=...) and
# head.embed_dims.
model = dict(
    type='beit3_mm.FusionEncoder',
    data_preprocessor=dict(
        type='beit3_mm.MultimodalDataPreprocessor',
        # BEiT-3's own mean and std (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
    ),
    backbone=dict(final_norm=False),
    head=dict(type='beit3_mm.VQAHead', num_answers=3129),
)
