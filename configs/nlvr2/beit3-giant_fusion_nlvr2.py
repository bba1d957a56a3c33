# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 giant (the paper's form), fusion encoder on NLVR2, 224 pixels.
# Numbers: Table 12 [tables]: lr 1e-3, layer decay 0.8, 20 epochs, warm-up 5,
# batch 256, weight decay 0.05, drop path 0.4; what it leaves open
# (augmentation, smallest rate) is the released recipe's [official code].
# Expected: 91.51 on dev, 92.58 on test-P [tables], of the paper; not run on
# NLVR2 by us.
# Batch: 256 = 32 devices x 8.
# Command, with NNODES=4, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/nlvr2/beit3-giant_fusion_nlvr2.py 8
# It starts from random weights, as no giant ones were ever released, unless
# --cfg-options load_from=CHECKPOINT names a pretraining checkpoint.
_base_ = './beit3_fusion_nlvr2.py'
arch = _base_.archs.giant
load_from = None
model = dict(
    backbone=dict(**arch, drop_path_rate=0.4, with_cp=True),  # cp: ours
    head=dict(embed_dims=arch.embed_dims),
)
train_dataloader = dict(batch_size=8)
lr = 1e-3
optim_wrapper = dict(
    optimizer=dict(lr=lr, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=0.8),
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
