# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 large (released form, "itc" weights), retrieval on Flickr30K without
# fine-tuning, 224 pixels.
# Numbers: as beit3_dual_flickr30k_zeroshot.py.
# Expected: R@1/5/10 of text retrieval 90.7/98.9/99.6, of image retrieval
# 78.0/94.1/96.8, measured by a user [issue: microsoft/unilm#1382]; not run on
# Flickr30K by us.
# Batch: 3072 = 8 devices x 384, for training only.
# Command:
# python tools/test.py configs/retrieval/beit3-large_dual_flickr30k_zeroshot.py
# beit3_large_itc_patch16_224.pth
_base_ = './beit3_dual_flickr30k_zeroshot.py'
arch = _base_.archs.large
load_from = 'beit3_large_itc_patch16_224.pth'
model = dict(
    backbone=dict(**arch),
    head=dict(embed_dims=arch.embed_dims),
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
