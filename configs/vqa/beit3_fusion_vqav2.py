# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form and weights), fusion encoder on VQAv2, 480 pixels.
# Numbers: the authors' base recipe [official code: get_started/
# get_started_for_vqav2.md]: lr 3e-5, of the classifier x20, layer decay 1.0,
# 10 epochs, warm-up 1, batch 128, drop path 0.1, weight decay 0.01, betas
# (0.9, 0.98), RandAugment.
# Expected: 77.65 on test-dev, 78.46 from the indomain weights [official code:
# README.md], of the authors; not run on VQAv2 by us.
# Batch: 128 = 8 devices x 16.
# Command: bash tools/dist_train.sh configs/vqa/beit3_fusion_vqav2.py 8
# From the indomain weights:
# --cfg-options load_from=beit3_base_indomain_patch16_224.pth
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/fusion_encoder_vqa.py',
    '../_base_/datasets/vqav2.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
arch = dict(_base_.archs.base, img_size=480)
load_from = 'beit3_base_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.1),
    head=dict(embed_dims=arch['embed_dims']),
)
train_dataloader = dict(batch_size=16)
val_dataloader = dict(batch_size=32)
test_dataloader = dict(batch_size=32)
optim_wrapper = dict(
    optimizer=dict(lr=_base_.lr, betas=(0.9, 0.98), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'head.classifier': dict(lr_mult=20.0)}),
)
auto_scale_lr = dict(base_batch_size=128, enable=False)
default_hooks = dict(checkpoint=dict(save_best='vqa/score', rule='greater'))
