# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form and weights; its vision half), linear classifier
# on ImageNet-1K, 224 pixels.
# Numbers: the authors' large recipe [official code: get_started/
# get_started_for_image_classification.md]: lr 2e-4, layer decay 0.8, drop
# path 0.25, the rest as base.
# Expected: top-1 87.6, top-5 98.3 [official code: README.md], of the authors;
# not run on ImageNet by us.
# Batch: 1024 = 8 devices x 128.
# Command: bash tools/dist_train.sh
# configs/classification/beit3-large_linear_imagenet1k.py 8
_base_ = './beit3_linear_imagenet1k.py'
arch = _base_.archs.large
load_from = 'beit3_large_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.25),
    head=dict(embed_dims=arch.embed_dims),
)
lr = 2e-4
optim_wrapper = dict(
    optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=0.8)
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
