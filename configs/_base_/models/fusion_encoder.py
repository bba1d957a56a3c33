# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 as fusion encoder: VQA and NLVR2 (arXiv 2208.10442, section 3.1).
# Final configs add backbone=dict(**arch, drop_path_rate=...) and a head.
model = dict(
    type='beit3_mm.FusionEncoder',
    data_preprocessor=dict(
        type='beit3_mm.MultimodalDataPreprocessor',
        # BEiT-3's own mean and std (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
    ),
)
