# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form and weights), fusion encoder on NLVR2, 224 pixels.
# Numbers: the authors' base recipe [official code: get_started/
# get_started_for_nlvr2.md]: lr 7e-4, layer decay 0.65, 20 epochs, warm-up 5,
# batch 256, drop path 0.2, weight decay 0.2, no RandAugment.
# Expected: 83.6 on dev, 84.4 on test-P [official code: README.md], of the
# authors; not run on NLVR2 by us.
# Batch: 256 = 8 devices x 32.
# Command: bash tools/dist_train.sh configs/nlvr2/beit3_fusion_nlvr2.py 8
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/fusion_encoder_nlvr2.py',
    '../_base_/datasets/nlvr2.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
arch = _base_.archs.base
load_from = 'beit3_base_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.2),
    head=dict(embed_dims=arch.embed_dims),
)
train_dataloader = dict(batch_size=32)
val_dataloader = dict(batch_size=32)
test_dataloader = dict(batch_size=32)
train_cfg = dict(max_epochs=20)
lr = 7e-4
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.2),
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=5),
    dict(cosine, begin=5, eta_min_ratio=_base_.min_lr / lr),
]
auto_scale_lr = dict(base_batch_size=256, enable=False)
default_hooks = dict(
    checkpoint=dict(save_best='nlvr2/accuracy', rule='greater')
)
