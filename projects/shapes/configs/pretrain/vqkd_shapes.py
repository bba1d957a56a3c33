# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny visual tokenizer of generated scenes, from random weights. Its teacher
# needs no download: the mean colour and the gradients of each patch.
# Numbers: sizes, schedule and rates are ours, chosen for 8 minutes of 2 CPU
# cores; everything else is the base tokenizer's. Scenes of 128 pixels are seen
# at 160, whose patches of 16 pixels make the grid of 10 x 10 that students
# have with patches of 14 pixels at 140. 512 codes: 3200 vectors of a step
# are 6 for each, and a student can learn to guess so many in minutes.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command, after `python projects/shapes/generate.py`:
# bash tools/dist_train.sh projects/shapes/configs/pretrain/vqkd_shapes.py 2
# --work-dir work_dirs/shapes/vqkd --cfg-options
# env_cfg.dist_cfg.backend=gloo train_dataloader.batch_size=16
_base_ = '../../../../configs/pretrain/vqkd_base_imagenet1k.py'
size, num_codes = 160, 512
model = dict(
    tokenizer=dict(
        img_size=size,
        embed_dims=128,
        num_layers=4,
        num_heads=4,
        feedforward_channels=512,
        teacher_dims=39,  # 3 of colour, 9 directions in 2 x 2 cells
        num_codes=num_codes,
        quantizer=dict(revive_after=50),  # of 1000 steps
    ),
    teacher=dict(
        _delete_=True, type='beit3_mm.HandcraftedTeacher', patch_size=16
    ),
    teacher_mean=[0.0, 0.0, 0.0],
    teacher_std=[255.0, 255.0, 255.0],
)
images = dict(
    _delete_=True,
    type='mmpretrain.CustomDataset',
    data_root='work_dirs/shapes/data/coco/',
    with_label=False,
)
load = dict(type='beit3_mm.LoadImageFromFile')
resize = dict(type='mmcv.Resize', scale=(size, size))
flips = [
    dict(type='mmcv.RandomFlip', prob=0.5, direction=direction)
    for direction in ('horizontal', 'vertical')
]
pack = dict(type='beit3_mm.PackMultimodalInputs')
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        dataset=dict(
            **images,
            data_prefix='train2017',
            pipeline=[load, resize, *flips, pack],
        )
    ),
)
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        **images,
        data_prefix='val2017',
        test_mode=True,
        pipeline=[load, resize, pack],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(num_codes=num_codes)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=8, val_interval=8)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    optimizer=dict(lr=1e-3),
    clip_grad=dict(max_norm=3.0),
)
auto_scale_lr = dict(base_batch_size=32)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [
    dict(warm_up, end=1),
    dict(cosine, begin=1, eta_min_ratio=0.01),
]
