# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form and weights), captioning on COCO, 480 pixels.
# Numbers: the authors' large recipe [official code: get_started/
# get_started_for_captioning.md]: lr 8e-6, the rest as base.
# Expected: CIDEr 143.2 [official code: README.md], of the authors; a user
# measured BLEU-4 41.6, METEOR 32.1, CIDEr 143.4 [issue: microsoft/unilm#1435].
# Not run on COCO by us.
# Batch: 256 = 8 devices x 32.
# Command:
# bash tools/dist_train.sh configs/caption/beit3-large_caption_coco.py 8
_base_ = './beit3_caption_coco.py'
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
