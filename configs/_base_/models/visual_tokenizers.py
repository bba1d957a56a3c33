# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The frozen visual tokenizer of masked data modeling: BEiT v2's, of which
# only the base ones are published; the paper used a large one [issue:
# microsoft/unilm#1157]. Numbers: [official code: beit2/TOKENIZER.md,
# modeling_vqkd.py]. Its decoder is not needed, and not built.
# File: docs/visual_tokenizer.md.
visual_tokenizers = dict(
    base=dict(
        type='beit3_mm.VQKD',
        img_size=224,
        patch_size=16,
        embed_dims=768,
        num_layers=12,
        num_heads=12,
        feedforward_channels=3072,
        num_codes=8192,
        code_dims=32,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='vqkd_encoder_base_decoder_1x768x12_clip.pth',
        ),
    ),
)
