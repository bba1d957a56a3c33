# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form, "indomain" weights), fusion encoder on VQAv2 and
# questions of Visual Genome, 768 pixels.
# Numbers: of this model the authors give pixels and data [official code:
# README.md]; all others are those of the large model at 480 pixels.
# Expected: 82.97 on test-dev, 83.03 on test-std [official code: README.md], of
# the authors; not run on VQAv2 by us.
# Batch: 128 = 32 devices x 4.
# Command, with NNODES=4, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/vqa/beit3-large_fusion_vqav2-vg_768.py 8
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/fusion_encoder_vqa.py',
    '../_base_/datasets/vqav2_vg.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
arch = dict(_base_.archs.large, img_size=768)
load_from = 'beit3_large_indomain_patch16_224.pth'
model = dict(
    backbone=dict(**arch, drop_path_rate=0.15, with_cp=True),  # cp: ours
    head=dict(embed_dims=arch['embed_dims']),
)
size = dict(scale=(768, 768))
train_pipeline, test_pipeline = (
    [dict(step, **size) if 'scale' in step else step for step in steps]
    for steps in (_base_.train_pipeline, _base_.test_pipeline)
)
datasets = [
    dict(data, pipeline=train_pipeline)
    for data in _base_.train_dataloader.dataset.dataset.datasets
]
train_dataloader = dict(
    batch_size=4, dataset=dict(dataset=dict(datasets=datasets))
)
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=test_pipeline))
lr = 2e-5
optim_wrapper = dict(
    optimizer=dict(lr=lr, betas=(0.9, 0.98), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'head.classifier': dict(lr_mult=20.0)}),
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
auto_scale_lr = dict(base_batch_size=128, enable=False)
default_hooks = dict(checkpoint=dict(save_best='vqa/score', rule='greater'))
