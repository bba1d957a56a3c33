# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form, "itc" weights: after the contrastive stage), dual
# encoder on COCO retrieval, 384 pixels.
# Numbers: the authors' base recipe [official code: get_started/
# get_started_for_retrieval.md]: lr 2e-4, layer decay 0.65, 15 epochs, warm-up
# 3, batch 3072, drop path 0.2, weight decay 0.05.
# Expected: R@1 61.4 image, 79.1 text retrieval [official code: README.md], of
# the authors; not run on COCO by us.
# Batch: 3072 = 8 devices x 384. On N devices:
# --cfg-options train_dataloader.batch_size=3072/N; memory holds chunk_size.
# Command: bash tools/dist_train.sh configs/retrieval/beit3_dual_coco.py 8
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/dual_encoder.py',
    '../_base_/datasets/coco_retrieval.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
arch = dict(_base_.archs.base, img_size=384)
load_from = 'beit3_base_itc_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.2),
    head=dict(embed_dims=arch['embed_dims']),
)
train_dataloader = dict(batch_size=384)
val_dataloader = dict(batch_size=32)
test_dataloader = dict(batch_size=32)
train_cfg = dict(max_epochs=15)
lr = 2e-4
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.65),
)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=3),
    dict(cosine, begin=3, eta_min_ratio=_base_.min_lr / lr),
]
auto_scale_lr = dict(base_batch_size=3072, enable=False)
default_hooks = dict(
    checkpoint=dict(save_best='retrieval/mean_R', rule='greater')
)
