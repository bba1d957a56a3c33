# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The captioner of generated scenes, from pretraining on them instead of from
# random weights.
# Numbers: patches of 14 pixels are those of the pretraining, 8 x 8 of them are
# as many as in the config that this one inherits from.
# Expected: see projects/shapes/README.md, from a run of these values.
# Command: python tools/train.py with this config, after the pretraining of
# projects/shapes/README.md
_base_ = './beit3_caption_shapes.py'
load_from = 'work_dirs/shapes/mdm/iter_2000.pth'
size = 112
model = dict(backbone=dict(img_size=size, patch_size=14))
load = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(type='mmcv.Resize', scale=(size, size)),
]
train_pipeline = [*load, *_base_.train_pipeline[1:]]
test_pipeline = [*load, _base_.shapes_pack]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
