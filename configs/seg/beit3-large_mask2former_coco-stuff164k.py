# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large, ViT-Adapter + Mask2Former on COCO-Stuff-164k.
# Numbers: beit3_mask2former_coco-stuff164k.py's, with the size and the
# optimizer of beit3-large_mask2former_ade20k.py.
# Expected: not run by us, and no figure is published.
# Command, with NNODES=2, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh
# configs/seg/beit3-large_mask2former_coco-stuff164k.py 8
_base_ = './beit3_mask2former_coco-stuff164k.py'
arch = _base_.archs.large
weights = 'beit3_large_patch16_224.pth'
model = dict(
    backbone=dict(
        vit=dict(**arch, drop_path_rate=0.3, init_cfg=dict(checkpoint=weights))
    ),
    decode_head=dict(in_channels=[arch.embed_dims] * 4),
)
