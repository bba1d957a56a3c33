# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Sizes of BEiT-3; a width is typed nowhere else.
# base, large: the released form (unilm/beit3, README and modeling_utils.py).
# giant: the paper's form (arXiv 2208.10442, Tables 2 and 11): shared
# attention, no sub-LN, vision-language experts in the top 3 layers, patch 14.
# tiny: ours, for laptops and tests.
archs = dict(
    tiny=dict(
        img_size=224,
        patch_size=16,
        embed_dims=128,
        num_layers=4,
        num_heads=4,
        feedforward_channels=512,
        multiway_attention=True,
        sub_norm=True,
        num_vl_layers=0,
    ),
    base=dict(
        img_size=224,
        patch_size=16,
        embed_dims=768,
        num_layers=12,
        num_heads=12,
        feedforward_channels=3072,
        multiway_attention=True,
        sub_norm=True,
        num_vl_layers=0,
    ),
    large=dict(
        img_size=224,
        patch_size=16,
        embed_dims=1024,
        num_layers=24,
        num_heads=16,
        feedforward_channels=4096,
        multiway_attention=True,
        sub_norm=True,
        num_vl_layers=0,
    ),
    giant=dict(
        img_size=224,
        patch_size=14,
        embed_dims=1408,
        num_layers=40,
        num_heads=16,
        feedforward_channels=6144,
        multiway_attention=False,
        sub_norm=False,
        num_vl_layers=3,
    ),
)
