# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form and weights; its vision half), linear classifier
# on ImageNet-1K, 224 pixels.
# Numbers: the authors' base recipe [official code: get_started/
# get_started_for_image_classification.md]: lr 7e-4, layer decay 0.65, 50
# epochs, warm-up 5, batch 1024, drop path 0.15, weight decay 0.05, mixup 0.8,
# cutmix 1.0, label smoothing 0.1, timm's augmentation.
# Expected: top-1 85.4, top-5 97.6 [official code: README.md], of the authors;
# not run on ImageNet by us.
# Batch: 1024 = 8 devices x 128.
# Command: bash tools/dist_train.sh
# configs/classification/beit3_linear_imagenet1k.py 8
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/linear_classifier.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
arch = _base_.archs.base
load_from = 'beit3_base_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.15),
    head=dict(embed_dims=arch.embed_dims),
)
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
train_cfg = dict(max_epochs=50)
lr = 7e-4
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=5),
    dict(cosine, begin=5, eta_min_ratio=_base_.min_lr / lr),
]
auto_scale_lr = dict(base_batch_size=1024, enable=False)
