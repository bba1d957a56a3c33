# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form and weights), captioning trained on COCO and
# evaluated on NoCaps, 480 pixels.
# Numbers: the authors' large recipe for NoCaps [official code: get_started/
# get_started_for_captioning.md]: lr 8e-6, the rest as base.
# Expected: CIDEr 120.2 on the validation images [official code: README.md], of
# the authors; not run by us.
# Batch: 256 = 8 devices x 32.
# Command:
# bash tools/dist_train.sh configs/caption/beit3-large_caption_nocaps.py 8
_base_ = './beit3_caption_nocaps.py'
arch = dict(_base_.archs.large, img_size=480)
load_from = 'beit3_large_patch16_224.pth'
model = dict(
    backbone=dict(**arch, with_cp=True),  # cp: ours
    head=dict(embed_dims=arch['embed_dims']),
)
lr = 8e-6
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
