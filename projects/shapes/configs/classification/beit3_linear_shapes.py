# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3, from random weights, that tells 12 classes of generated
# objects, one in an image of 128 pixels.
# Numbers: sizes, schedule and rates are ours, chosen for 10 minutes of 2 CPU
# cores; everything else is the base ImageNet classifier's. At lr 1e-3 and
# batches of 16, shapes are learnt only once the rate is below 6e-4.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command: python projects/shapes/demo.py classification
_base_ = [
    '../../../../configs/classification/beit3_linear_imagenet1k.py',
    '../_base_/language.py',
]
# The paper's form, with patches of 16 pixels as base and large have, 8 x 8
form = dict(_base_.shapes_form, patch_size=16)
arch = dict(_base_.archs.tiny, img_size=128, **form)
load_from = None
num_classes = 12
model = dict(
    data_preprocessor=dict(
        num_classes=num_classes,
        batch_augments=None,  # colours are classes; mixed ones are none
    ),
    backbone=dict(**arch, drop_path_rate=0.0),
    head=dict(embed_dims=arch['embed_dims'], num_classes=num_classes),
)
images = dict(
    data_root=_base_.shapes_root + 'imagenet/',
    metainfo=dict(
        classes=[
            f'{colour} {shape}'
            for shape in ('circle', 'square', 'triangle')
            for colour in ('red', 'green', 'blue', 'yellow')
        ]
    ),
)
load = dict(type='beit3_mm.LoadImageFromFile')
pack = dict(type='mmpretrain.PackInputs')
train_pipeline = [
    load,
    # Objects have no up and no left.
    dict(type='mmcv.RandomFlip', prob=0.5),
    dict(type='mmcv.RandomFlip', prob=0.5, direction='vertical'),
    pack,
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    dataset=dict(dataset=dict(**images, pipeline=train_pipeline)),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(**images, pipeline=[load, pack]),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=34, val_interval=34)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(layer_decay_rate=1.0),
    clip_grad=dict(max_norm=3.0),
)
auto_scale_lr = dict(base_batch_size=16)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=1),
    dict(cosine, begin=1, eta_min_ratio=0.01),
]
