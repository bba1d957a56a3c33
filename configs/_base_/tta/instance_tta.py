# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Multi-scale + flip test-time augmentation of boxes and masks, for
# tools/test.py --tta. BEiT-3 says "multi-scale" and no more [text]; the
# scales are ours: 0.75, 1 and 1.25 of the training size.
tta_model = dict(type='beit3_mm.InstanceTTAModel')
tta_scales = [(768, 768), (1024, 1024), (1280, 1280)]
tta_pipeline = [
    dict(type='beit3_mm.LoadImageFromFile'),
    dict(
        type='mmcv.TestTimeAug',
        transforms=[
            [
                dict(type='mmdet.Resize', scale=scale, keep_ratio=True)
                for scale in tta_scales
            ],
            [
                dict(type='mmdet.RandomFlip', prob=0.0),
                dict(type='mmdet.RandomFlip', prob=1.0),
            ],
            [
                dict(
                    type='beit3_mm.SquarePad',
                    pad_val=dict(img=(128, 128, 128), masks=0),
                )
            ],
            [dict(type='mmdet.LoadAnnotations', with_bbox=True)],
            [
                dict(
                    type='mmdet.PackDetInputs',
                    meta_keys=(
                        'img_id',
                        'img_path',
                        'ori_shape',
                        'img_shape',
                        'scale_factor',
                        'flip',
                        'flip_direction',
                    ),
                )
            ],
        ],
    ),
]
