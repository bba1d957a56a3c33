# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# COCO 2017 instances with large-scale jitter, as ViTDet trains: detectron2
# projects/ViTDet, configs/common/coco_loader_lsj.py, called [ViTDet].
data_root = 'data/coco/'
image_size = (1024, 1024)
# About the mean colour, so that padding is zero after normalisation.
pad_val = dict(img=(128, 128, 128), masks=0)

train_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='mmdet.RandomFlip', prob=0.5),
    dict(
        type='mmcv.RandomResize',
        scale=image_size,
        ratio_range=(0.1, 2.0),  # [ViTDet] ResizeScale
        keep_ratio=True,
        resize_type='mmdet.Resize',
    ),
    dict(
        type='mmdet.RandomCrop',
        crop_type='absolute',
        crop_size=image_size,
        recompute_bbox=True,  # [ViTDet] recompute_boxes
        allow_negative_crop=True,
    ),
    dict(
        type='mmdet.FilterAnnotations',
        min_gt_bbox_wh=(1e-2, 1e-2),
        keep_empty=False,
    ),
    dict(type='mmdet.Pad', size=image_size, pad_val=pad_val),
    dict(type='mmdet.PackDetInputs'),
]
# Test images are padded to the square of training, so that the resized
# position table keeps its scale ([ViTDet] square_pad).
test_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(type='mmdet.Resize', scale=image_size, keep_ratio=True),
    dict(type='beit3_mm.SquarePad', pad_val=pad_val),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=(
            'img_id',
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
        ),
    ),
]

train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='beit3_mm.InfiniteSampler', shuffle=True),
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='beit3_mm.CocoDataset',
            data_root=data_root,
            ann_file='annotations/instances_train2017.json',
            data_prefix=dict(img='train2017/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
    dataset=dict(
        type='beit3_mm.CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmdet.CocoMetric',
    ann_file=data_root + 'annotations/instances_val2017.json',
    metric=['bbox', 'segm'],
)
test_evaluator = val_evaluator
