# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 as dual encoder: retrieval (arXiv 2208.10442, section 3.1) and the
# contrastive stage before it (Appendix A).
# Final configs add backbone=dict(**arch, drop_path_rate=...) and
# head.embed_dims.
model = dict(
    type='beit3_mm.DualEncoder',
    data_preprocessor=dict(
        type='beit3_mm.MultimodalDataPreprocessor',
        # BEiT-3's own mean and std (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
    ),
    head=dict(type='beit3_mm.ContrastiveHead'),
    # Images, or texts, that are encoded at a time, so that a large batch needs
    # the memory of this many (ours); the gradient is that of the batch.
    chunk_size=64,
)
