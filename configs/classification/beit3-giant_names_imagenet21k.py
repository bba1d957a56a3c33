# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), images against class names on ImageNet-21K,
# 224 pixels: the stage before beit3-giant_names_imagenet1k.py.
# Numbers: Table 17 [tables]: lr 5e-5, layer decay 0.85, 50 epochs, warm-up 5,
# batch 16k, weight decay 0.05, drop path 0.4, betas (0.9, 0.98), eps 1e-6,
# label smoothing 0.1; augmentation and smallest rate, which it leaves open,
# are the released classifier's [official code], without mixup and cutmix,
# whose images belong to no one name.
# Expected: not run by us, and no figure is published.
# Batch: 16384 = 64 devices x 256. On N devices:
# --cfg-options train_dataloader.batch_size=16384/N; memory holds chunk_size.
# Command, with NNODES=8, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh
# configs/classification/beit3-giant_names_imagenet21k.py 8
# It starts from random weights, as no giant ones were ever released, unless
# --cfg-options load_from=CHECKPOINT names a pretraining checkpoint.
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/class_name_classifier.py',
    '../_base_/datasets/imagenet21k.py',
    '../_base_/schedules/finetune_epochs.py',
    '../_base_/runtime.py',
]
arch = _base_.archs.giant
model = dict(
    backbone=dict(**arch, drop_path_rate=0.4),
    head=dict(embed_dims=arch.embed_dims),
    class_names=_base_.class_names,
    model_file='data/beit3.spm',
)
train_dataloader = dict(batch_size=256)
val_cfg = None  # there are no validation images
test_cfg = None
train_cfg = dict(max_epochs=50)
lr = 5e-5
optim_wrapper = dict(
    optimizer=dict(lr=lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.85),
)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=5),
    dict(cosine, begin=5, eta_min_ratio=_base_.min_lr / lr),
]
auto_scale_lr = dict(base_batch_size=16384, enable=False)
