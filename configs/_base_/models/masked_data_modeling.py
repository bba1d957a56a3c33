# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3's pretraining (arXiv 2208.10442, section 2.2): masked data modeling.
# Final configs add backbone=dict(**arch, drop_path_rate=...),
# head.embed_dims and visual_tokenizer.
model = dict(
    type='beit3_mm.MaskedDataModeling',
    data_preprocessor=dict(
        type='beit3_mm.MaskedModelingDataPreprocessor',
        # BEiT-3's own mean and std (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
    ),
    head=dict(
        type='beit3_mm.MaskedModelingHead',
        vocab_size=64010,
        num_visual_codes=8192,  # BEiT v2's [official code: beit2]
    ),
    # Whether patches of pairs are masked too; the paper does not say.
    mask_pair_images=True,
)
