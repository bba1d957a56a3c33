# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# ImageNet-1K by mmpretrain, for the linear classifier: mmpretrain's inputs.
# For class names (the paper's way) `train_images` and `test_images` are packed
# by dict(type='beit3_mm.PackMultimodalInputs').
# Files: docs/data/imagenet.md. Numbers: unilm/beit3, run_beit3_finetuning.py
# and timm's create_transform [official code]: rand-m9-mstd0.5-inc1, erasing
# 0.25; tests at a short side of the input size. mmpretrain's own list of
# RandAugment's operations names them without scope.
data_root = 'data/imagenet/'
image_size = (224, 224)
# Of the data_preprocessor, RGB; what is uncovered or erased gets them too.
pixel_mean = [123.675, 116.28, 103.53]
pixel_std = [58.395, 57.12, 57.375]

augment = dict(magnitude_range=(0, 0.9))
shear = dict(type='mmpretrain.Shear', magnitude_range=(0, 0.3))
translate = dict(type='mmpretrain.Translate', magnitude_range=(0, 0.45))
randaug_policies = [
    dict(type='mmpretrain.AutoContrast'),
    dict(type='mmpretrain.Equalize'),
    dict(type='mmpretrain.Invert'),
    dict(type='mmpretrain.Rotate', magnitude_range=(0, 30)),
    dict(type='mmpretrain.Posterize', magnitude_range=(4, 0)),
    dict(type='mmpretrain.Solarize', magnitude_range=(256, 0)),
    dict(type='mmpretrain.SolarizeAdd', magnitude_range=(0, 110)),
    dict(type='mmpretrain.ColorTransform', **augment),
    dict(type='mmpretrain.Contrast', **augment),
    dict(type='mmpretrain.Brightness', **augment),
    dict(type='mmpretrain.Sharpness', **augment),
    dict(shear, direction='horizontal'),
    dict(shear, direction='vertical'),
    dict(translate, direction='horizontal'),
    dict(translate, direction='vertical'),
]
train_images = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=image_size,
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='mmcv.RandomFlip', prob=0.5),
    dict(
        type='mmpretrain.RandAugment',
        policies=randaug_policies,
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(
            pad_val=[round(value) for value in pixel_mean[::-1]],  # BGR
            interpolation='bicubic',
        ),
    ),
    dict(
        type='mmpretrain.RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=pixel_mean[::-1],
        fill_std=pixel_std[::-1],
    ),
]
test_images = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(
        type='mmpretrain.ResizeEdge',
        scale=image_size[0],
        edge='short',
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='mmpretrain.CenterCrop', crop_size=image_size),
]
train_pipeline = [*train_images, dict(type='mmpretrain.PackInputs')]
test_pipeline = [*test_images, dict(type='mmpretrain.PackInputs')]

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='beit3_mm.EpochSampler', shuffle=True),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='mmpretrain.ImageNet',
            data_root=data_root,
            split='train',
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmpretrain.ImageNet',
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpretrain.Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
