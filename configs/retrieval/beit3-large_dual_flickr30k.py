# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form, "itc" weights: after the contrastive stage),
# dual encoder on Flickr30K retrieval, 384 pixels.
# Numbers: the authors' large recipe [official code: get_started/
# get_started_for_retrieval.md]: lr 5e-5, layer decay 0.85, the rest as base.
# Expected: R@1 88.1 image, 97.2 text retrieval [official code: README.md], of
# the authors; not run on Flickr30K by us.
# Batch: 3072 = 8 devices x 384. On N devices:
# --cfg-options train_dataloader.batch_size=3072/N; memory holds chunk_size.
# Command:
# bash tools/dist_train.sh configs/retrieval/beit3-large_dual_flickr30k.py 8
_base_ = './beit3_dual_flickr30k.py'
arch = dict(_base_.archs.large, img_size=384)
load_from = 'beit3_large_itc_patch16_224.pth'
model = dict(
    backbone=dict(**arch),
    head=dict(embed_dims=arch['embed_dims']),
    chunk_size=32,
)
lr = 5e-5
optim_wrapper = dict(
    optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=0.85)
)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], eta_min_ratio=_base_.min_lr / lr),
]
