# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large, Cascade R-CNN on Objects365 v2 (boxes only).
# Numbers: beit3_cascade_objects365.py's, with the size and the layer decay of
# beit3-large_cascade_coco.py.
# Expected: not run by us, and no figure is published.
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/det/beit3-large_cascade_objects365.py 8
_base_ = './beit3_cascade_objects365.py'
arch = _base_.archs.large
model = dict(
    backbone=dict(
        **arch,
        **_base_.vitdet_backbones.large,
        init_cfg=dict(checkpoint='beit3_large_patch16_224.pth'),
    ),
    neck=dict(in_channels=arch.embed_dims),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
