# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# NLVR2: 86k training sentences on pairs of images, dev for validation, test1
# (test-P) for the test. Files: docs/data/nlvr2.md. Numbers: unilm/beit3,
# get_started_for_nlvr2.md and datasets.py [official code]: 224 pixels, no
# RandAugment; either image of a pair is cropped and flipped by itself.
_base_ = ['./vl_pipelines.py']
data_root = 'data/nlvr2/'
tokenizer_file = 'data/beit3.spm'
image_size = (224, 224)

train_images = [
    dict(step, scale=image_size) if 'scale' in step else step
    for step in _base_.vl_train_images
]
test_images = [
    dict(step, scale=image_size) if 'scale' in step else step
    for step in _base_.vl_test_images
]
texts_and_pack = [
    dict(type='beit3_mm.TokenizeText', model_file=tokenizer_file),
    dict(type='beit3_mm.PackMultimodalInputs'),
]
train_pipeline = [
    dict(type='beit3_mm.TransformImages', transforms=train_images),
    *texts_and_pack,
]
test_pipeline = [
    dict(type='beit3_mm.TransformImages', transforms=test_images),
    *texts_and_pack,
]

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='beit3_mm.EpochSampler', shuffle=True),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='beit3_mm.NLVR2Dataset',
            data_root=data_root,
            ann_file='nlvr/nlvr2/data/train.json',
            data_prefix=dict(img_path='images/train/'),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='beit3_mm.NLVR2Dataset',
        data_root=data_root,
        ann_file='nlvr/nlvr2/data/dev.json',
        data_prefix=dict(img_path='dev/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(
        val_dataloader['dataset'],
        ann_file='nlvr/nlvr2/data/test1.json',
        data_prefix=dict(img_path='test1/'),
    ),
)
val_evaluator = dict(type='beit3_mm.NLVR2Accuracy')
test_evaluator = val_evaluator
