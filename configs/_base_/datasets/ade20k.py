# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# ADE20K scene parsing (SceneParsing release, 150 classes). Augmentation as
# ViT-Adapter (mask2former_beitv2_adapter_large_896_80k_ade20k_ss.py), sizes
# too: crops of 896, test images with a short side of 896.
data_root = 'data/ade/ADEChallengeData2016/'
crop_size = (896, 896)
load_mask = dict(type='beit3_mm.LoadSemanticMask', num_classes=150)

train_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    load_mask,
    dict(
        type='mmcv.RandomResize',
        scale=(3584, 896),
        ratio_range=(0.5, 2.0),
        keep_ratio=True,
        resize_type='mmseg.Resize',
    ),
    dict(type='mmseg.RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='mmcv.RandomFlip', prob=0.5),
    dict(type='mmseg.PhotoMetricDistortion'),
    dict(type='mmseg.PackSegInputs'),
]
test_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(type='mmseg.Resize', scale=(3584, 896), keep_ratio=True),
    load_mask,
    dict(type='mmseg.PackSegInputs'),
]

train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='beit3_mm.InfiniteSampler', shuffle=True),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='mmseg.ADE20KDataset',
            data_root=data_root,
            data_prefix=dict(
                img_path='images/training',
                seg_map_path='annotations/training',
            ),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmseg.ADE20KDataset',
        data_root=data_root,
        data_prefix=dict(
            img_path='images/validation',
            seg_map_path='annotations/validation',
        ),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
