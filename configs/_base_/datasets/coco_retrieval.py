# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# COCO in Karpathy's splits, for retrieval: 113k training images (train and
# restval), 5k for validation, 5k for the test. Files: docs/data/coco.md.
# Numbers: unilm/beit3, get_started_for_retrieval.md and datasets.py [official
# code]: 384 pixels, no RandAugment.
_base_ = ['./vl_pipelines.py']
data_root = 'data/coco/'
tokenizer_file = 'data/beit3.spm'
image_size = (384, 384)

texts_and_pack = [
    dict(type='beit3_mm.TokenizeText', model_file=tokenizer_file),
    dict(type='beit3_mm.PackMultimodalInputs'),
]
train_pipeline = [
    dict(step, scale=image_size) if 'scale' in step else step
    for step in _base_.vl_train_images
] + texts_and_pack
test_pipeline = [
    dict(step, scale=image_size) if 'scale' in step else step
    for step in _base_.vl_test_images
] + texts_and_pack

train_dataloader = dict(
    num_workers=4,
    persistent_workers=True,
    # A small last batch would be an easier task than the others.
    drop_last=True,
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
        task='retrieval',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], split='test')
)
val_evaluator = dict(type='beit3_mm.RetrievalRecall', topk=(1, 5, 10))
test_evaluator = val_evaluator
