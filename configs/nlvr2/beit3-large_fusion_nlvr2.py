# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form and weights), fusion encoder on NLVR2, 224
# pixels.
# Numbers: the authors' large recipe [official code: get_started/
# get_started_for_nlvr2.md]: lr 3e-4, layer decay 0.85, the rest as base.
# Expected: 88.5 on dev, 89.4 on test-P [official code: README.md], of the
# authors; not run on NLVR2 by us.
# Batch: 256 = 8 devices x 32.
# Command: bash tools/dist_train.sh configs/nlvr2/beit3-large_fusion_nlvr2.py 8
_base_ = './beit3_fusion_nlvr2.py'
arch = _base_.archs.large
load_from = 'beit3_large_patch16_224.pth'
model = dict(backbone=dict(**arch), head=dict(embed_dims=arch.embed_dims))
lr = 3e-4
optim_wrapper = dict(
    optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=0.85)
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
