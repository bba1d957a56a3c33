# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3 that says whether a statement is true of two generated scenes.
# It starts from the model that answers questions (demo.py vqa).
# Numbers: sizes, schedule and rates are ours, chosen for 10 minutes of 2 CPU
# cores; everything else is the base NLVR2 model's.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command: python projects/shapes/demo.py nlvr2
_base_ = [
    '../../../../configs/nlvr2/beit3_fusion_nlvr2.py',
    '../_base_/language.py',
]
arch = dict(
    _base_.archs.tiny, img_size=_base_.shapes_size, **_base_.shapes_form
)
load_from = 'work_dirs/shapes/vqa/epoch_4.pth'
model = dict(
    backbone=dict(**arch, **_base_.shapes_text, drop_path_rate=0.0),
    head=dict(embed_dims=arch['embed_dims']),
)
pipeline = [
    dict(type='beit3_mm.TransformImages', transforms=_base_.shapes_images),
    _base_.shapes_tokenize,
    _base_.shapes_pack,
]
pairs = dict(data_root=_base_.shapes_root + 'nlvr2/', pipeline=pipeline)
train_dataloader = dict(
    batch_size=32, num_workers=1, dataset=dict(dataset=pairs)
)
val_dataloader = dict(batch_size=64, num_workers=1, dataset=pairs)
test_dataloader = dict(batch_size=64, num_workers=1, dataset=pairs)
train_cfg = dict(max_epochs=4, val_interval=4)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(layer_decay_rate=1.0),
    clip_grad=dict(max_norm=3.0),
)
auto_scale_lr = dict(base_batch_size=32)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=1),
    dict(cosine, begin=1, eta_min_ratio=0.01),
]
