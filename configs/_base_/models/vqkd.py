# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Training of BEiT v2's visual tokenizer: the teacher is CLIP ViT-B/16, 512
# channels of each patch behind its projection [official code:
# beit2/TOKENIZER.md]. mmpretrain's class and file of it (configs/milan) give
# them. Pixels are CLIP's own mean and standard deviation (openai/CLIP).
# Final configs add the tokenizer.
model = dict(
    type='beit3_mm.VQKDTraining',
    data_preprocessor=dict(
        type='beit3_mm.MultimodalDataPreprocessor',
        mean=[0.0, 0.0, 0.0],  # images stay in [0, 1]
        std=[255.0, 255.0, 255.0],
    ),
    teacher=dict(
        type='mmpretrain.CLIPGenerator',
        tokenizer_path='clip_vit_base_16.pth.tar',
    ),
    teacher_mean=[122.771, 116.746, 104.094],
    teacher_std=[68.501, 66.632, 70.323],
)
