# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form), ViT-Adapter + Mask2Former on ADE20K.
# Numbers: ViT-Adapter's recipe for BEiT v2 large [found: czczup/ViT-Adapter]:
# drop path 0.3. It starts from the COCO-Stuff stage ("strategy 2").
# Expected: not run on ADE20K by us. ViT-Adapter with BEiT v2 large reaches
# 61.2 mIoU, 61.5 with multi-scale and flip [found: its README].
# Command, with NNODES=2, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/seg/beit3-large_mask2former_ade20k.py 8
_base_ = './beit3_mask2former_ade20k.py'
arch = _base_.archs.large
load_from = 'work_dirs/beit3-large_mask2former_coco-stuff164k/iter_80000.pth'
model = dict(
    backbone=dict(vit=dict(**arch, drop_path_rate=0.3)),
    decode_head=dict(in_channels=[arch.embed_dims] * 4),
)
