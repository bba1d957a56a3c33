# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Images of the vision-language tasks, from loading up to packing.
# Numbers: unilm/beit3, datasets.py and randaug.py [official code]. Pillow
# resizes, as there: it smooths what it shrinks. Lists are at 480 pixels (VQA
# and captioning, base and large); another size, of a whole pipeline too:
#     [dict(step, scale=(384, 384)) if 'scale' in step else step
#      for step in _base_.vl_train_images]
# Pairs of images: `dict(type='beit3_mm.TransformImages', transforms=...)`.
vl_image_size = (480, 480)

vl_train_images = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    dict(
        type='mmpretrain.RandomResizedCrop',
        scale=vl_image_size,
        crop_ratio_range=(0.5, 1.0),
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='mmcv.RandomFlip', prob=0.5),
]

# RandAugment, N=2 of 10 operations, M=7 of 10; each is applied with
# probability 0.5, the default of mmpretrain's operations.
vl_fill = dict(pad_val=(128, 128, 128), interpolation='bilinear')
# A factor of 0.1 + 1.8 * M / 10, never below 1 by a random sign.
vl_enhance = dict(magnitude_range=(-0.9, 0.9), random_negative_prob=0.0)
vl_shear = dict(type='mmpretrain.Shear', magnitude_range=(0, 0.3), **vl_fill)
# 10 * M / 10 pixels at any size; mmpretrain's Translate takes a share of it.
vl_translate = dict(type='beit3_mm.TranslatePixels', pixels=7, **vl_fill)
vl_train_images_randaug = [
    *vl_train_images,
    dict(
        type='mmpretrain.RandAugment',
        num_policies=2,
        magnitude_level=7,
        policies=[
            dict(type='mmpretrain.AutoContrast', prob=0.0),  # for Identity
            dict(type='mmpretrain.AutoContrast'),
            dict(type='mmpretrain.Equalize'),
            dict(type='mmpretrain.Brightness', **vl_enhance),
            dict(type='mmpretrain.Sharpness', **vl_enhance),
            dict(vl_shear, direction='horizontal'),
            dict(vl_shear, direction='vertical'),
            dict(vl_translate, direction='horizontal'),
            dict(vl_translate, direction='vertical'),
            dict(type='mmpretrain.Rotate', magnitude_range=(0, 30), **vl_fill),
        ],
    ),
]

# Validation and test; the official code validates with the training steps.
vl_test_images = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(
        type='mmcv.Resize',
        scale=vl_image_size,
        interpolation='bicubic',
        backend='pillow',
    ),
]
