# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant, ViT-Adapter + Mask2Former on COCO-Stuff-164k.
# Numbers: beit3_mask2former_coco-stuff164k.py's, with the size and the
# optimizer of beit3-giant_mask2former_ade20k.py.
# Expected: not run by us, and no figure is published.
# Command, with NNODES=2, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh
# configs/seg/beit3-giant_mask2former_coco-stuff164k.py 8
_base_ = './beit3_mask2former_coco-stuff164k.py'
arch = dict(_base_.archs.giant, patch_size=16, img_size=256)
model = dict(
    backbone=dict(
        vit=dict(
            **arch,
            drop_path_rate=0.5,
            with_cp=True,
            init_cfg=None,  # no giant weights were ever released
        ),
        with_cp=True,
    ),
    decode_head=dict(in_channels=[arch['embed_dims']] * 4),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-5), paramwise_cfg=dict(layer_decay_rate=0.95)
)
