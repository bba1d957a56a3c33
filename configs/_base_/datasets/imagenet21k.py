# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# ImageNet-21K by mmpretrain: the stage before ImageNet-1K, classified by class
# names. It has no validation images. Files: docs/data/imagenet21k.md. Numbers:
# the paper does not give the augmentation; it is that of ImageNet-1K, as in
# BEiT v2's stage of this kind [official code: beit2].
_base_ = ['./imagenet.py']
data_root = 'data/imagenet21k/'
class_names = data_root + 'class_names.txt'

train_pipeline = [
    *_base_.train_images,
    dict(type='beit3_mm.PackMultimodalInputs'),
]
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            type='mmpretrain.ImageNet21k',
            data_root=data_root,
            pipeline=train_pipeline,
        )
    )
)
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
