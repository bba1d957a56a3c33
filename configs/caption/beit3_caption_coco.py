# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form and weights), captioning on COCO, 480 pixels.
# Numbers: the authors' base recipe [official code: get_started/
# get_started_for_captioning.md]: lr 4e-5, layer decay 1.0, 10 epochs, warm-up
# 1, batch 256, drop path 0.1, weight decay 0.05, texts of 32 ids, 0.7 of them
# masked, the worst 0.2 dropped after 12,000 steps, RandAugment.
# Expected: CIDEr 133.6, 135.0 from the indomain weights [official code:
# README.md], of the authors; not run on COCO by us.
# Batch: 256 = 8 devices x 32.
# Command: bash tools/dist_train.sh configs/caption/beit3_caption_coco.py 8
# From the indomain weights:
# --cfg-options load_from=beit3_base_indomain_patch16_224.pth
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/image_to_text.py',
    '../_base_/datasets/coco_caption.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
arch = dict(_base_.archs.base, img_size=480)
load_from = 'beit3_base_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.1),
    head=dict(embed_dims=arch['embed_dims']),
)
train_dataloader = dict(batch_size=32)
val_dataloader = dict(batch_size=32)
test_dataloader = dict(batch_size=32)
lr = 4e-5
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.05))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
auto_scale_lr = dict(base_batch_size=256, enable=False)
default_hooks = dict(
    checkpoint=dict(save_best='caption/CIDEr', rule='greater')
)
