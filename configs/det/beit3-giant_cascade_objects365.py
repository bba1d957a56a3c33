# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), Cascade R-CNN on Objects365 v2 (boxes only).
# Numbers: Table 16 [tables]: lr 1e-4, 15 epochs, batch 64, warm-up 250 steps,
# layer decay 0.9, weight decay 0.1, drop path 0.6, 1024 pixels; what the
# paper leaves open as in beit3_cascade_objects365.py, norms as in
# beit3-giant_cascade_coco.py.
# Expected: not run by us, and no figure is published.
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/det/beit3-giant_cascade_objects365.py 8
_base_ = './beit3_cascade_objects365.py'
arch = dict(_base_.archs.giant, **_base_.vitdet_backbones.giant)
model = dict(backbone=dict(**arch), neck=dict(in_channels=arch['embed_dims']))
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True, layer_decay_rate=0.9, norm_decay_mult=1.0
    )
)
