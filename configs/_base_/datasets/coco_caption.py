# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# COCO in Karpathy's splits, for captioning. Files: docs/data/coco.md.
# Numbers: unilm/beit3, get_started_for_captioning.md [official code]: 480
# pixels, texts of 32 ids, 70% of them masked (the paper's giant model: 392
# pixels, 60%), RandAugment.
_base_ = ['./vl_pipelines.py']
data_root = 'data/coco/'
tokenizer_file = 'data/beit3.spm'
image_size = _base_.vl_image_size

train_pipeline = [
    *_base_.vl_train_images_randaug,
    dict(
        type='beit3_mm.TokenizeText', model_file=tokenizer_file, max_tokens=32
    ),
    dict(
        type='beit3_mm.MaskText',
        model_file=tokenizer_file,
        mask_prob=0.7,
        mask_special=True,
    ),
    dict(type='beit3_mm.PackMultimodalInputs'),
]
test_pipeline = [
    *_base_.vl_test_images,
    dict(type='beit3_mm.PackMultimodalInputs'),
]

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='beit3_mm.EpochSampler', shuffle=True),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='beit3_mm.KarpathyDataset',
            data_root=data_root,
            ann_file='dataset_coco.json',
            split=['train', 'restval'],
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='beit3_mm.KarpathyDataset',
        data_root=data_root,
        ann_file='dataset_coco.json',
        split='val',
        task='caption',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], split='test')
)
val_evaluator = dict(type='beit3_mm.CaptionMetric', model_file=tokenizer_file)
test_evaluator = val_evaluator
