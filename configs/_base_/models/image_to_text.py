# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 as captioner (arXiv 2208.10442, section 3.1). Numbers: unilm/beit3,
# modeling_finetune.py, utils.py, run_beit3_finetuning.py [official code].
# Final configs add backbone=dict(**arch, drop_path_rate=...) and
# head.embed_dims.
model = dict(
    type='beit3_mm.ImageToText',
    data_preprocessor=dict(
        type='beit3_mm.MultimodalDataPreprocessor',
        # BEiT-3's own mean and std (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
    ),
    head=dict(
        type='beit3_mm.CaptionHead',
        vocab_size=64010,
        label_smoothing=0.1,
        drop_worst_ratio=0.2,
        drop_worst_after=12000,
    ),
    beam_search=dict(
        num_beams=3,
        length_penalty=0.6,
        # The documented evaluation leaves out the length of training, 32.
        max_tokens=64,
    ),
)
