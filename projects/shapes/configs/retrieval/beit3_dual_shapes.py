# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3, from random weights, that finds the captions of generated
# scenes among 2500, and the scenes of captions among 500.
# Numbers: sizes, schedule and rates are ours, chosen for 10 minutes of 2 CPU
# cores; everything else is the base COCO model's.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command: python projects/shapes/demo.py retrieval
_base_ = [
    '../../../../configs/retrieval/beit3_dual_coco.py',
    '../_base_/language.py',
]
arch = dict(
    _base_.archs.tiny, img_size=_base_.shapes_size, **_base_.shapes_form
)
load_from = None
model = dict(
    backbone=dict(**arch, **_base_.shapes_text, drop_path_rate=0.0),
    head=dict(embed_dims=arch['embed_dims']),
    chunk_size=None,  # all at once: the batch is small
)
scenes = dict(
    data_root=_base_.shapes_root + 'coco/', pipeline=_base_.shapes_pipeline
)
train_dataloader = dict(
    batch_size=64, num_workers=1, dataset=dict(dataset=scenes)
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(**scenes, split=['val', 'test']),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=4, val_interval=4)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(layer_decay_rate=1.0),
    clip_grad=dict(max_norm=3.0),
)
auto_scale_lr = dict(base_batch_size=64)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=1),
    dict(cosine, begin=1, eta_min_ratio=0.01),
]
