# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form and weights), fusion encoder on VQAv2, 480
# pixels.
# Numbers: the authors' large recipe [official code: get_started/
# get_started_for_vqav2.md]: lr 2e-5, drop path 0.15, the rest as base.
# Expected: 81.85 on test-dev, 82.53 from the indomain weights [official code:
# README.md], of the authors; not run on VQAv2 by us.
# Batch: 128 = 8 devices x 16.
# Command: bash tools/dist_train.sh configs/vqa/beit3-large_fusion_vqav2.py 8
_base_ = './beit3_fusion_vqav2.py'
arch = dict(_base_.archs.large, img_size=480)
load_from = 'beit3_large_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.15, with_cp=True),  # cp: ours
    head=dict(embed_dims=arch['embed_dims']),
)
lr = 2e-5
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
