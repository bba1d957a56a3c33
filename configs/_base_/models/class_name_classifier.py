# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The paper's classifier: a dual encoder that finds the name of an image's
# class (arXiv 2208.10442, section 3.2).
# Final configs add backbone=dict(**arch, drop_path_rate=...),
# head.embed_dims, class_names and model_file.
model = dict(
    type='beit3_mm.ClassNameClassifier',
    data_preprocessor=dict(
        type='beit3_mm.MultimodalDataPreprocessor',
        # The paper is silent; BEiT-3's own (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
    ),
    head=dict(type='beit3_mm.ContrastiveHead'),
    label_smoothing=0.1,  # Table 17 [tables]
    chunk_size=64,  # ours; as in dual_encoder.py
)
