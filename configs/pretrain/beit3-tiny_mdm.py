# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 tiny (released form), pretraining on images, texts and pairs, for a
# laptop.
# Numbers: ours are the size of the model, steps and batch; all others as base.
# Expected: not run by us; a small model on generated data is in
# projects/shapes/configs/pretrain.
# Batch: 48 = 1 device x 48, a third of each kind.
# Command: python tools/train.py configs/pretrain/beit3-tiny_mdm.py
_base_ = './beit3_mdm.py'
arch = _base_.archs.tiny
model = dict(backbone=dict(**arch), head=dict(embed_dims=arch.embed_dims))
train_dataloader = dict(batch_size=48)
train_cfg = dict(max_iters=20000)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=1000),
    dict(_base_.param_scheduler[1], begin=1000),
]
auto_scale_lr = dict(base_batch_size=48)
